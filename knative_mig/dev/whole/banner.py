"""What `knative-mig dev` prints when it is ready: where things are, and what to type next.

Called by `process`. A function is asked in two forms, for curl and browsers know NAME.NAMESPACE.localhost as this
machine, and programs that ask the C library do not.
"""

from collections.abc import Sequence

from knative_mig.dev.whole.fleet import SimulatedNode

_FUNCTION = "tiny"


def banner(
    *, nodes: Sequence[SimulatedNode], gateway: int, api: str, kubeconfig: str, logs: str, ready_s: float
) -> str:
    gpus = ", ".join(f"{each.name} {each.gpus}" for each in nodes)
    host = f"{_FUNCTION}.default.localhost"
    return f"""knative-mig dev (simulated GPUs: not for production), ready in {ready_s:.1f} s

  functions   http://NAME.NAMESPACE.localhost:{gateway}
  API         {api}
  GPUs        {gpus}
  logs        {logs}

What to type next, in another terminal:

  export KUBECONFIG={kubeconfig}
  kn service create {_FUNCTION} --image dev.local/tiny-llm --limit nvidia.com/mig-1g.5gb=1
  curl http://{host}:{gateway}/v1/completions -d '{{"model": "tiny-llm", "prompt": "Once upon a time"}}'
  curl -H 'Host: {host}' http://127.0.0.1:{gateway}/v1/models    # where .localhost is not known

Ctrl-C ends it and all that it started.
"""
