"""The planner's and the webhook's own processes, on an API server of the tests.

Used by `campaign`. Each is a `Served`: where it listens, what it has logged, how much memory it has.
"""

import base64
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import yaml

from knative_mig.adapters.kube.webhooks import CONFIGURATION, MUTATING, SECRET_NAME, VALIDATING
from tests.fake_api import FakeApi
from tests.fuzz_campaign.mix import Door
from tests.rigs import webhooks
from tests.rigs.gpu_node_object import gpu_node_object
from tests.rigs.kept_ports import kept_ports
from tests.rigs.small_cluster import gpu, gpu_node

ROOT: Final = Path(__file__).parents[2]
STARTS_WITHIN_S: Final = 120.0
# Their containers' limits: whoever comes to them is killed.
MANIFESTS: Final = {Door.SINK: "500-planner.yaml", Door.WEBHOOK: "530-webhook.yaml"}
_LINE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) [a-z_.0-9]+: .{0,2000}")


@dataclass(slots=True, kw_only=True)
class Served:
    door: Door
    port: int
    ops_port: int
    log: Path
    process: "subprocess.Popen[bytes]"
    tls: ssl.SSLContext | None = None
    host: str = ""
    memory_mib: list[int] = field(default_factory=list)

    def look(self) -> None:
        """At its memory."""
        self.memory_mib.append(self._status("VmRSS") // 1024)

    @property
    def most_mib(self) -> int:
        return self._status("VmHWM") // 1024

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", text)[1])  # type: ignore[index]

    def figure(self, name: str) -> float:
        """Of its metrics, all labels together."""
        lines = [line for line in self.ask("/metrics").splitlines() if re.match(rf"{name}[ {{]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}{path}", timeout=30) as answered:
            return str(answered.read().decode())

    def is_ready(self) -> bool:
        try:
            return self.ask("/readyz") == "ok\n"
        except (OSError, urllib.error.URLError):
            return False

    def odd_lines(self) -> list[str]:
        """What it has logged that is no line of a log: tracebacks, errors, and what was smuggled in."""
        lines = self.log.read_text(errors="backslashreplace").split("\n")
        return [line for line in lines if line and not (line.isprintable() and _LINE.fullmatch(line))]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Processes:
    """`with Processes(folder) as running: running[Door.SINK]`."""

    def __init__(self, folder: Path, *, watch_every: int) -> None:
        self._folder = folder
        self._every = watch_every
        self._api = FakeApi()
        self._served: dict[Door, Served] = {}
        self._kept = ExitStack()

    def __getitem__(self, door: Door) -> Served:
        return self._served[door]

    def each(self) -> list[Served]:
        return list(self._served.values())

    def __enter__(self) -> Self:
        self._api.__enter__()
        _fill(self._api)
        ports = self._kept.enter_context(kept_ports(4))  # a process cannot tell which port it was given
        for door, module, own in (
            (Door.SINK, "reconfigurer.planner", ("--events-port={}", "--ops-port={}", "--ops-host=127.0.0.1")),
            (Door.WEBHOOK, "activator_hooks.webhook", ("--port={}", "--ops-port={}", "--host=127.0.0.1")),
        ):
            port, ops_port = ports.pop(), ports.pop()
            words = [own[0].format(port), own[1].format(ops_port), own[2], f"--kubeconfig={self._kubeconfig()}"]
            log = self._folder / f"{door}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.fuzz_campaign.observed", str(self._every), module, *words],
                    cwd=ROOT,
                    stdout=file,
                    stderr=file,
                )
            self._served[door] = Served(door=door, port=port, ops_port=ops_port, log=log, process=process)
        for served in self.each():
            _until(served, served.is_ready)
        _until(self[Door.SINK], lambda: self[Door.SINK].figure("knative_mig_planner_leader") == 1)
        _until(self[Door.WEBHOOK], lambda: bool(self._bundle()))
        self[Door.WEBHOOK].tls = ssl.create_default_context(cadata=self._bundle())
        self[Door.WEBHOOK].host = webhooks.HOST
        return self

    def __exit__(self, *_: object) -> None:
        for served in self.each():
            served.process.kill()
            served.process.wait()
        self._kept.close()
        self._api.__exit__(None, None, None)

    def _bundle(self) -> str:
        found = [
            each["clientConfig"].get("caBundle", "")
            for body in self._api.objects(MUTATING)
            for each in body["webhooks"]
        ]
        return base64.b64decode(found[0]).decode()

    def _kubeconfig(self) -> Path:
        made = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self._api.url}}],
            "users": [{"name": "here", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        }
        path = self._folder / "kubeconfig"
        path.write_text(yaml.safe_dump(made))
        return path


def limit_mib(door: Door) -> int:
    """Of the container's memory."""
    for body in yaml.safe_load_all((ROOT / "config" / "core" / MANIFESTS[door]).read_text()):
        if body["kind"] == "Deployment":
            limit: str = body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
            return int(limit.removesuffix("Mi"))
    raise LookupError(door)


def _fill(api: FakeApi) -> None:
    """A node with one GPU, and what the webhook keeps its certificates in."""
    api.put_object(gpu_node_object(gpu_node("n1", gpu("GPU-1", {"1g.5gb@4": None, "4g.20gb@0": None}))))
    about: Mapping[str, Any] = {"namespace": "knative-mig", "name": SECRET_NAME}
    api.put_object({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": about})
    for kind in (MUTATING, VALIDATING):
        at = {"namespace": "knative-mig", "name": "webhook", "path": "/mutate", "port": 443}
        hooks = [{"name": "functions.knative-mig.dev", "clientConfig": {"service": at}}]
        api.put_object(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind.kind,
                "metadata": {"name": CONFIGURATION},
                "webhooks": hooks,
            }
        )


def _until(served: Served, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not true():
        if served.process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"the {served.door}'s process has not begun to serve:\n{served.log.read_text()[-2000:]}")
        time.sleep(0.05)
