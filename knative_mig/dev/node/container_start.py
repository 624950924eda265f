"""Makes what a container is started with: program, environment, mounts and log, put together from all that says so.

Called by `pod_worker` before each start: a Secret may have come, and a slice may not be the one that was handed out.
"""

import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from knative_mig.adapters.marked_pods import POD_VARIABLE
from knative_mig.dev.node import entries
from knative_mig.dev.node.container import Command, Container
from knative_mig.dev.node.images import Program, program
from knative_mig.dev.node.pod_spec import ContainerSpec, Pod, Sleep
from knative_mig.dev.node.ports import NODE_IP
from knative_mig.dev.node.probing import ask
from knative_mig.dev.node.surrounds import NAMED_BY, ROOT_VARIABLE, Place, environment, expanded, moved
from knative_mig.dev.node.tools import Tools
from knative_mig.dev.node.volumes import PodFolder

_log = logging.getLogger(__name__)
_HOOK_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """`ending` is set once it was told to end."""

    id: str
    command: Command
    from_image: bool = False
    ending: threading.Event = field(default_factory=threading.Event)

    def beside(self, argv: tuple[str, ...]) -> Command:
        """A probe's or a hook's command, in the container's place."""
        return replace(self.command, argv=argv, log=None)


class Starts:
    def __init__(self, tools: Tools, pod: Pod) -> None:
        self._tools = tools
        self.folder = PodFolder(tools.settings.folder / "pods" / pod.uid)

    def make(self, pod: Pod, spec: ContainerSpec, address: str, life: int) -> Blueprint:
        """CannotMount, UnknownImage, CannotSetUp, ContainerNotStarted, ClusterError, OSError."""
        tools = self._tools
        settings = tools.settings
        place = Place(node=str(settings.name), node_ip=NODE_IP, pod_ip=address, allocatable=settings.room)
        held = entries.read(tools.client, pod)
        self.folder.fill(pod, place, held)
        runs = program(spec, tools.images)
        given = tools.devices.before_start(pod.key, spec.name)
        mounts = self.folder.mounts(pod, spec, given.mounts)
        variables = environment(pod, spec, place, held, self._base(pod, spec, runs, address, given.environment))
        for path, variable in NAMED_BY.items():
            if path in mounts:
                variables.setdefault(variable, path)
        argv = tuple(moved(expanded(each, variables), mounts) for each in runs.argv)
        variables = {name: moved(value, mounts) for name, value in variables.items()}
        variables[ROOT_VARIABLE] = str(self.folder.root(spec.name))
        variables[POD_VARIABLE] = pod.uid
        command = Command(
            argv=argv,
            env=variables,
            cwd=self._work(spec, mounts),
            log=tools.logs.open(pod.key, pod.uid, spec.name, life),
        )
        return Blueprint(id=uuid.uuid4().hex, command=command, from_image=runs.from_image)

    def after(self, spec: ContainerSpec, made: Blueprint, container: Container, address: str) -> None:
        """The hook of its start, which ends the container where it fails."""
        hook = spec.post_start
        if hook is None or isinstance(hook, Sleep):
            return

        def run() -> None:
            result = ask(hook, address, _HOOK_S, made.beside)
            if not result.succeeded:
                _log.info("the hook after the start of process %d failed: %s", container.pid, result.output)
                container.terminate()

        threading.Thread(target=run, name=f"hook-{spec.name}", daemon=True).start()

    def _base(
        self, pod: Pod, spec: ContainerSpec, runs: Program, address: str, of_devices: Mapping[str, str]
    ) -> dict[str, str]:
        """What the pod's own variables come on top of."""
        work = str(self.folder.work(spec.name))
        return {
            **self._tools.host,
            **self._tools.settings.variables,
            "HOME": work,
            "TMPDIR": work,
            "HOSTNAME": pod.key.name,
            "HOST": address,
            "PORT": str(spec.port),
            **runs.variables,
            **dict.fromkeys(runs.listens_by, address),
            **of_devices,
        }

    def _work(self, spec: ContainerSpec, mounts: Mapping[str, str]) -> Path:
        """One that the pod names is this machine's, where it has it."""
        named = Path(moved(spec.working_dir, mounts)) if spec.working_dir else None
        return named if named is not None and named.is_dir() else self.folder.work(spec.name)
