"""Who holds which devices, with the plugin's answers: what a kubelet writes down, and reads again when it starts.

Kept by `device_manager`, whose threads share it. The subtle thing is when it is written: before a container begins, so
that no restart can give its devices to another.
"""

import base64
import contextlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.ports.kube import Key

_log = logging.getLogger(__name__)
_FORMAT: Final = 1
_UNKNOWN: Final = "what was allocated before is not known, and every pod is admitted anew: %s"


class Checkpoint(Protocol):
    def read(self) -> bytes | None:
        """None: there is none yet."""

    def write(self, content: bytes) -> None:
        """OSError: it is not written."""

    def set_aside(self) -> None:
        """What was read is no checkpoint: who wants to know what it was finds it. OSError: it stays where it is."""


class Forgets:
    """For a node whose containers end with its kubelet: nothing has to be known of them."""

    def read(self) -> bytes | None:
        return None

    def write(self, content: bytes) -> None:
        """Nothing is kept."""

    def set_aside(self) -> None:
        """There is nothing."""


class CheckpointFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_bytes(content)
        new.replace(self._path)

    def set_aside(self) -> None:
        self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """By a container, of one resource."""

    resource: str
    devices: frozenset[str]
    answer: bytes  # as the plugin gave it


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a container is started with for its devices."""

    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)  # container path -> host path
    cdi_devices: tuple[str, ...] = ()


class Allocations:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._lock = threading.Lock()
        self._held: dict[Key, dict[str, tuple[Held, ...]]] = {}
        self._resources: set[str] = set()
        try:
            content = checkpoint.read()
            if content is not None:
                self._held, self._resources = _decoded(content)
        except OSError as error:
            _log.warning(_UNKNOWN, error)
        except (ValueError, KeyError, TypeError, DecodeError) as error:
            _log.warning(_UNKNOWN, error)
            with contextlib.suppress(OSError):
                checkpoint.set_aside()

    @property
    def resources(self) -> frozenset[str]:
        """That plugins ever served."""
        return frozenset(self._resources)

    def know(self, resource: str) -> None:
        with self._lock:
            if resource not in self._resources:
                self._resources.add(resource)
                self._write()

    def all(self) -> Mapping[Key, Mapping[str, tuple[Held, ...]]]:
        with self._lock:
            return {pod: dict(held) for pod, held in self._held.items()}

    def of(self, pod: Key, container: str) -> tuple[Held, ...]:
        with self._lock:
            return self._held.get(pod, {}).get(container, ())

    def has(self, pod: Key, container: str, resource: str) -> bool:
        return any(each.resource == resource for each in self.of(pod, container))

    def in_use(self, resource: str) -> frozenset[str]:
        with self._lock:
            return frozenset(
                device
                for containers in self._held.values()
                for many in containers.values()
                for each in many
                if each.resource == resource
                for device in each.devices
            )

    def given(self, pod: Key, container: str) -> Given:
        answers = [pb.ContainerAllocateResponse.FromString(each.answer) for each in self.of(pod, container)]
        return Given(
            environment={name: value for answer in answers for name, value in answer.envs.items()},
            mounts={mount.container_path: mount.host_path for answer in answers for mount in answer.mounts},
            cdi_devices=tuple(sorted({device.name for answer in answers for device in answer.cdi_devices})),
        )

    def put(self, pod: Key, container: str, held: Held) -> None:
        with self._lock:
            of_pod = self._held.setdefault(pod, {})
            of_pod[container] = (*of_pod.get(container, ()), held)
            self._write()

    def drop(self, pod: Key) -> bool:
        """Whether it had any."""
        with self._lock:
            had = self._held.pop(pod, None) is not None
            if had:
                self._write()
            return had

    def keep_only(self, pods: frozenset[Key]) -> None:
        with self._lock:
            gone = self._held.keys() - pods
            for pod in gone:
                del self._held[pod]
            if gone:
                self._write()

    def _write(self) -> None:
        """Where the disk is full the containers that run keep what they have; only a restart would ask for it."""
        try:
            self._checkpoint.write(_encoded(self._held, self._resources))
        except OSError as error:
            _log.warning("what is allocated is not written down: %s", error)


def _encoded(held: Mapping[Key, Mapping[str, tuple[Held, ...]]], resources: set[str]) -> bytes:
    entries = [
        {
            "namespace": pod.namespace,
            "pod": pod.name,
            "container": container,
            "resource": each.resource,
            "devices": sorted(each.devices),
            "answer": base64.b64encode(each.answer).decode(),
        }
        for pod, containers in held.items()
        for container, many in containers.items()
        for each in many
    ]
    return json.dumps({"format": _FORMAT, "resources": sorted(resources), "held": entries}).encode()


def _decoded(content: bytes) -> tuple[dict[Key, dict[str, tuple[Held, ...]]], set[str]]:
    """ValueError, KeyError, TypeError, DecodeError for what is no checkpoint."""
    found = json.loads(content)
    if found["format"] != _FORMAT:
        raise ValueError(f"its format is {found['format']}, known is {_FORMAT}")
    held: dict[Key, dict[str, tuple[Held, ...]]] = {}
    for entry in found["held"]:
        answer = base64.b64decode(entry["answer"], validate=True)
        pb.ContainerAllocateResponse.FromString(answer)
        of_pod = held.setdefault(Key(str(entry["namespace"]), str(entry["pod"])), {})
        one = Held(resource=str(entry["resource"]), devices=frozenset(map(str, entry["devices"])), answer=answer)
        of_pod[entry["container"]] = (*of_pod.get(entry["container"], ()), one)
    return held, {str(each) for each in found["resources"]}
