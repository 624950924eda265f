"""The desk at which slices are given to containers: a `ports.kubelet.SliceDesk`, asked on threads of the plugins.

`hand_out` answers for a pod that is being admitted, `before_start` for each start of a container. The kubelet replays a
checkpointed answer when a container restarts, also when the slice has been made anew since: so what was handed out is
remembered with its MIG UUID, and a container whose slice has another one now is refused. It would never come right by
itself, so the slice is noted for the pod loop, which deletes its pod to have it admitted anew; the kubelet names no pod
here, its holders do.

A container gets one slice. A CDI file sets NVIDIA_VISIBLE_DEVICES, and of two files the last one wins: a container with
two would see one of them, and an application of CUDA uses one slice anyway.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.gpu_node import SliceId
from knative_mig.ports.kubelet import AllocationRefused, DeviceId, Handout, Mount
from reconfigurer.agent.board import Board, NotToBeGiven
from reconfigurer.agent.slice_uuids import SliceUuids

_log = logging.getLogger(__name__)
SOCKET_DIR_IN_CONTAINER: Final = "/var/run/knative-mig/slice"
VISIBLE_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """How a container gets its device: by a name that the container runtime looks up in a CDI file, or by the
    environment variable that NVIDIA's runtime reads.
    """

    cdi_name: Callable[[SliceId], str] | None
    socket_dir: Callable[[SliceId], Path] | None


class Desk:
    def __init__(
        self,
        board: Board,
        handed_out: SliceUuids,
        injection: Injection,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None] = lambda: None,
        before_giving: Callable[[], None] = lambda: None,
        answered: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`clock` is the board's; `wake` is called when a container was refused a slice that is not its own;
        `before_giving` is `PodResources.let_it_end`; `answered` counts: given, refused, start-refused.
        """
        self._board = board
        self._handed_out = handed_out
        self._injection = injection
        self._clock = clock
        self._wake = wake
        self._before_giving = before_giving
        self._answered = answered
        self._lock = threading.Lock()
        self._changed: Mapping[SliceId, str] = {}

    def hand_out(self, devices: tuple[DeviceId, ...]) -> Handout:
        given: dict[SliceId, str] = {}
        slices = _slices(devices)
        if len(slices) > 1:
            self._answered("refused")
            raise AllocationRefused(
                f"a container asks for {len(slices)} slices of {slices[0].profile}: it can have one; ask for a bigger "
                "profile, or for more replicas"
            )
        for slice_id in slices:
            try:
                given[slice_id] = self._board.hand_out(slice_id, self._clock())
            except NotToBeGiven as refusal:
                _log.warning("a container is not given a slice: %s", refusal)
                self._answered("refused")
                raise AllocationRefused(str(refusal)) from refusal
        try:
            self._handed_out.remember(given)
        except OSError as error:
            # The slice is right, and this process remembers it: a full disk is no reason to fail the pod.
            _log.warning(
                "what was handed out is not on the disk (%s): after a restart its pods are asked for proof", error
            )
        self._before_giving()
        self._answered("given")
        for slice_id, mig_uuid in given.items():
            _log.info("slice %s, which is %s now, is handed out", slice_id, mig_uuid)
        try:
            return self._handout(given)
        except OSError as error:
            raise AllocationRefused(f"the folder of the slice's socket cannot be made: {error}") from error

    def before_start(self, devices: tuple[DeviceId, ...]) -> None:
        for slice_id in _slices(devices):
            if why := self._why_not_start(slice_id):
                _log.warning("a container is not started: %s", why)
                self._answered("start-refused")
                self._note(slice_id, why)
                raise AllocationRefused(why)

    def changed(self) -> Mapping[SliceId, str]:
        """The slices whose containers were refused, with the reasons, until `settled`."""
        return self._changed

    def settled(self, slice_id: SliceId) -> None:
        with self._lock:
            self._changed = {each: why for each, why in self._changed.items() if each != slice_id}

    def adopt(self) -> None:
        """After a start: whoever has a process on a slice has the slice as it is, whatever became of the file."""
        now = self._board.snapshot()
        proven: dict[SliceId, str] = {}
        for reading in now.readings.values():
            for seen in reading.slices:
                slice_id = reading.slice_id(seen)
                if self._handed_out.uuid_of(slice_id) is None and seen.mig_uuid and seen.pids:
                    proven[slice_id] = seen.mig_uuid
        try:
            self._handed_out.remember(proven)
        except OSError as error:
            _log.warning("what was found handed out is not on the disk: %s", error)

    def _why_not_start(self, slice_id: SliceId) -> str:
        now = self._board.snapshot()
        reading, mark = now.readings.get(slice_id.gpu), now.mark(slice_id)
        seen = reading.find(slice_id) if reading else None
        if seen is None or seen.mig_uuid is None:
            return f"{slice_id} is not there any more"
        if mark.broken:
            return f"{slice_id} is broken: {mark.broken}"
        if mark.release is not None:
            return f"{slice_id} was released by this pod"
        given = self._handed_out.uuid_of(slice_id)
        if given == seen.mig_uuid:
            return ""
        if given is None:
            return f"{slice_id} is {seen.mig_uuid}, and it cannot be shown that this is what was handed out"
        return f"{slice_id} was {given} when it was handed out, and has been made anew as {seen.mig_uuid}"

    def _note(self, slice_id: SliceId, why: str) -> None:
        with self._lock:
            self._changed = {**self._changed, slice_id: why}
        self._wake()

    def _handout(self, given: Mapping[SliceId, str]) -> Handout:
        environment = self._described(tuple(given))
        cdi_name, socket_dir = self._injection.cdi_name, self._injection.socket_dir
        if cdi_name is None:
            environment[VISIBLE_DEVICES] = ",".join(given.values())
        mounts = [
            Mount(host_path=str(socket_dir(slice_id)), container_path=SOCKET_DIR_IN_CONTAINER)
            for slice_id in given
            if socket_dir is not None
        ]
        return Handout(
            environment=environment,
            mounts=tuple(mounts),
            cdi_devices=tuple(cdi_name(slice_id) for slice_id in given) if cdi_name else (),
        )

    def _described(self, slices: tuple[SliceId, ...]) -> dict[str, str]:
        found: dict[str, str] = {}
        readings = self._board.snapshot().readings
        for slice_id in slices:
            seen, model = readings[slice_id.gpu].find(slice_id), readings[slice_id.gpu].model
            if seen is not None and model is not None:
                found |= _environment(slice_id, seen.place.profile, model)
        return found


def _environment(slice_id: SliceId, profile: Profile, model: GpuModel) -> dict[str, str]:
    environment = {
        "KNATIVE_MIG_SLICE": str(slice_id),
        "KNATIVE_MIG_PROFILE": str(profile.name),
        "KNATIVE_MIG_COMPUTE_SHARE": f"{profile.compute}/{model.compute_slices}",
    }
    if profile.memory_mib is not None:
        environment["KNATIVE_MIG_MEMORY_MIB"] = str(profile.memory_mib)
    if profile.multiprocessors is not None:
        environment["KNATIVE_MIG_SM"] = str(profile.multiprocessors)
    return environment


def _slices(devices: tuple[DeviceId, ...]) -> tuple[SliceId, ...]:
    try:
        return tuple(SliceId.parse(device) for device in devices)
    except BadInput as error:
        raise AllocationRefused(str(error)) from error
