"""What `knative-mig dev` prints when it is ready: where things are, and what to type next.

Called by `process`. Each line works as it is printed, on this machine: kn is named where it is installed, and this
program as it was called. A function is asked in two forms, for curl and browsers know NAME.NAMESPACE.localhost as this
machine, and programs that ask the C library do not.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from knative_mig.dev.whole.fleet import SimulatedNode, smallest_slice
from knative_mig.dev.whole.settings import HOST

FUNCTION: Final = "tiny"
IMAGE: Final = "dev.local/tiny-llm"
_PROGRAM: Final = "knative-mig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    nodes: Sequence[SimulatedNode]
    gateway: int
    api: str
    brokers: int
    kubeconfig: Path
    manifest: Path  # of the function that is made first
    logs: Path
    is_made: bool  # that function: it was kept


def banner(places: Places, *, ready_s: float) -> str:
    gpus = ", ".join(f"{each.name} {each.gpus}" for each in places.nodes)
    steps = "\n".join(f"  {each}" for each in next_steps(places))
    return f"""knative-mig dev (simulated GPUs: not for production), ready in {ready_s:.1f} s

  functions   http://NAME.NAMESPACE.localhost:{places.gateway}
  API         {places.api}
  events      http://{HOST}:{places.brokers}/NAMESPACE/BROKER
  GPUs        {gpus}
  logs        {places.logs}

What to type next, in another terminal:

{steps}

Ctrl-C ends it and all that it started.
"""


def next_steps(places: Places) -> tuple[str, ...]:
    host = f"{FUNCTION}.default.localhost"
    asked = shlex.quote(json.dumps({"model": "tiny-llm", "prompt": "Once upon a time"}))
    called = _called()
    return (
        f"export KUBECONFIG={shlex.quote(str(places.kubeconfig))}",
        *(() if places.is_made else (_making(places),)),
        f"{called} invoke {FUNCTION} 'Once upon a time'",
        f"{called} gpus",
        f"curl http://{host}:{places.gateway}/v1/completions -d {asked}",
        f"curl -H 'Host: {host}' http://{HOST}:{places.gateway}/v1/models    # where .localhost is not known",
    )


def _making(places: Places) -> str:
    if shutil.which("kn"):
        resource = smallest_slice(places.nodes[0])
        return f"kn service create {FUNCTION} --image {IMAGE} --limit {resource}=1"
    services = f"{places.api}/apis/serving.knative.dev/v1/namespaces/default/services"
    body = f"--data-binary @{shlex.quote(str(places.manifest))} -H 'Content-Type: application/json'"
    return f"curl -sSf -o /dev/null {body} {services}"


def _called() -> str:
    """As it is found by who has typed it."""
    if Path(sys.argv[0]).name != _PROGRAM:
        return f"{sys.executable} -m knative_mig.cli"
    found = shutil.which(_PROGRAM)
    return _PROGRAM if found and Path(found).samefile(sys.argv[0]) else shlex.quote(str(Path(sys.argv[0]).absolute()))


def manifest(nodes: Sequence[SimulatedNode]) -> dict[str, Any]:
    limits = {smallest_slice(nodes[0]): "1"}
    container = {"image": IMAGE, "resources": {"limits": limits}}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": FUNCTION},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
