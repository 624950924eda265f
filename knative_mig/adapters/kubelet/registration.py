"""Keeps one plugin server a profile registered with the kubelet, whatever becomes of the kubelet.

Made by the node agent, which runs `run` on a thread of its own. A kubelet that starts removes every socket in its
folder and makes its own anew: its identity, or a missing socket of ours, says that it is to be told again. The subtle
thing is another plugin for the same resource. The kubelet takes whoever registers last and tells the one before
nothing: not even its stream ends. It shows in three ways, all watched here: the kubelet believes in devices that were
never served here; it drops this plugin while itself it goes on (when the other's stream ends, it ends the stream of
whoever is registered); NVIDIA's plugin listens on a socket of a known name. Nobody wins by registering over and over,
so while another's devices are believed, or its socket answers, this plugin only says so.

A kubelet that is slow is not to look like that, since nothing is changed beside another plugin: what it never believed
it may not have taken in yet, and what it drops soon after we have left a stream it may drop for that one's end.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.channel import channel_to
from knative_mig.adapters.kubelet.device_plugin import OPTIONS, Feed, PluginServer
from knative_mig.adapters.kubelet.plugin_sockets import answers, nvidias_plugins
from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kubelet import ConnectionChanged, Device, DeviceId, KubeletView, OwnersChanged, SliceDesk

_log = logging.getLogger(__name__)

PLUGINS_FOLDER: Final = Path("/var/lib/kubelet/device-plugins")
LOOK_S: Final = 0.2  # how often the sockets are looked at: a stat each
LOOK_FOR_OTHERS_S: Final = 2.0
ANSWER_WITHIN_S: Final = 5.0  # to Register, and from there to the kubelet's first ListAndWatch; then to believing it
BACK_OFF_S: Final = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
DROPPED_WITHIN_S: Final = 60.0  # dropped twice within this, by a kubelet that went on: somebody else registers too
# A stream ended here is noticed there some milliseconds later, and whoever is registered by then is dropped for it.
LET_GO_S: Final = 0.5
NOTICED_WITHIN_S: Final = 30.0  # by a kubelet that had to wait for a processor
_OURS: Final = "knative-mig-"
_THREADS: Final = 256  # an upper bound: one is made when a call finds none idle

Identity = tuple[int, int]


@dataclass(slots=True)
class _Profile:
    """How one profile stands with the kubelet."""

    name: ProfileName
    feed: Feed = field(default_factory=Feed)
    put_at: float = 0.0
    server: PluginServer | None = None
    generation: int = 0
    registered_with: Identity | None = None
    registered_at: float = 0.0
    ended_before: int = 0  # listeners of the server that had gone when it was registered
    failures: int = 0
    retry_at: float = 0.0
    believed: frozenset[DeviceId] = frozenset()  # at any time since it was registered, of those that are healthy here
    let_go_at: float = float("-inf")  # when a stream was ended here, if the kubelet may not have noticed
    dropped_by: Identity | None = None
    drops: list[float] = field(default_factory=list)
    afresh: bool = False  # to be registered anew on another socket
    believed_others: str = ""
    others_socket: str = ""

    @property
    def connected(self) -> bool:
        return self.registered_with is not None and self.server is not None and self.server.listeners > 0

    def another_owner(self, now: float) -> str:
        recent = [each for each in self.drops if now - each < DROPPED_WITHIN_S]
        dropped = "the kubelet dropped this plugin again and again, and did not restart" if len(recent) > 1 else ""
        return self.others_socket or self.believed_others or dropped


class KubeletDevicePlugins:
    """`ports.kubelet.DevicePlugins`."""

    def __init__(
        self,
        desk: SliceDesk,
        *,
        on_connection: ConnectionChanged,
        on_owners: OwnersChanged,
        folder: Path = PLUGINS_FOLDER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._kubelet = folder / "kubelet.sock"
        self._desk = desk
        self._on_connection = on_connection
        self._on_owners = on_owners
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="device-plugin")
        self._mark = secrets.token_hex(3)  # a predecessor that still ends does not remove a socket of the same name
        self._wake = threading.Condition()
        self._awake = False
        self._stopping = False
        self._running = False
        self._profiles: dict[ProfileName, _Profile] = {}
        self._registering: grpc.Future[pb.Empty] | None = None
        self._looked_for_others_at = float("-inf")
        self._reported: tuple[bool | None, Mapping[ProfileName, str]] = (None, {})

    def serve(self, devices: Mapping[ProfileName, tuple[Device, ...]]) -> None:
        with self._wake:
            new = devices.keys() - self._profiles.keys()
            for name in new:
                self._profiles[name] = _Profile(name=name)
            profiles = tuple(self._profiles.values())
        for profile in profiles:
            if profile.feed.put(devices.get(profile.name, ())):
                profile.put_at = self._clock()
        if new:
            self._look()

    def observe(self, view: KubeletView) -> None:
        now, found = self._clock(), False
        for profile in self._all():
            believed = view.allocatable_of.get(profile.name, frozenset())
            unknown = sorted(device for device in believed if not profile.feed.knows(device))
            if unknown:
                found = found or not profile.believed_others
                profile.believed_others = (
                    f"the kubelet has {len(unknown)} devices of {profile.name.resource} that are not served here,"
                    f" {unknown[0]} among them"
                )
                continue
            if profile.believed_others:
                profile.believed_others = ""  # and the kubelet has stopped the resource with the plugin that left
                profile.afresh = found = True
                continue
            since = max(profile.put_at, profile.registered_at)
            healthy = {device.id for device in profile.feed.devices if device.healthy}
            profile.believed = (profile.believed | believed) & healthy
            missing = healthy - believed
            if missing and profile.connected and now - since > ANSWER_WITHIN_S:
                _log.warning("the kubelet does not believe in %s: registering anew", ", ".join(sorted(missing)))
                profile.afresh = found = True
                if missing & profile.believed:
                    profile.drops.append(now)
        if found:
            self._look()

    def run(self) -> None:
        with self._wake:
            if self._stopping:
                return
            self._running = True
        try:
            self._remove_leftovers()
            while not self._stopping:
                self._keep_registered()
                with self._wake:
                    self._wake.wait_for(lambda: self._awake or self._stopping, LOOK_S)
                    self._awake = False
        finally:
            ends = [profile.server.close() for profile in self._all() if profile.server is not None]
            for end in ends:
                end.wait(0.2)
            self._threads.shutdown(wait=False)
            with self._wake:
                self._running = False
                self._wake.notify_all()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
            if self._registering is not None:
                self._registering.cancel()
            self._wake.wait_for(lambda: not self._running, 1.0)

    # What follows runs on `run`'s thread.

    def _keep_registered(self) -> None:
        now = self._clock()
        kubelet = _identity(self._kubelet)
        profiles = self._all()
        others = self._others(profiles, now)
        for profile in profiles:
            profile.others_socket = others.get(profile.name, "")
            self._see_what_became_of(profile, kubelet, now)
            due = profile.registered_with is None and now >= profile.retry_at
            told_off = profile.others_socket or profile.believed_others
            if kubelet is not None and due and not told_off and not self._register(profile, kubelet):
                break  # the kubelet does not answer at all: the other profiles need not ask
        self._report(now)

    def _see_what_became_of(self, profile: _Profile, kubelet: Identity | None, now: float) -> None:
        server = profile.server
        if server is None:
            return
        if profile.registered_with not in {None, kubelet}:
            _log.info("the kubelet restarted: registering %s anew", profile.name.resource)
            _start_over(profile, now)
        if profile.afresh or not server.is_reachable():
            if profile.registered_with is not None:
                _start_over(profile, now + LET_GO_S)
                profile.let_go_at = now
            profile.afresh = False
            server.close()
            profile.server = None
        elif profile.registered_with is not None and not server.listeners:
            if server.ended > profile.ended_before:
                if now - profile.let_go_at > NOTICED_WITHIN_S:
                    profile.dropped_by = kubelet
                profile.let_go_at = float("-inf")
                _start_over(profile, now + _back_off_s(len(profile.drops)))
            elif now - profile.registered_at > ANSWER_WITHIN_S:
                _log.warning("the kubelet registered %s and does not listen to it", profile.name.resource)
                _start_over(profile, now)

    def _register(self, profile: _Profile, kubelet: Identity) -> bool:
        """Whether the kubelet answered, be it with a refusal."""
        resource = profile.name.resource
        try:
            server = profile.server or self._serve_anew(profile)
        except OSError as error:
            _log.warning("%s: %s", resource, error)
            _back_off(profile, self._clock())
            return True
        profile.ended_before = server.ended
        request = pb.RegisterRequest(
            version=methods.API_VERSION, endpoint=server.socket.name, resource_name=resource, options=OPTIONS
        )
        with channel_to(self._kubelet) as channel:
            call = methods.REGISTER.on(channel).future(request, timeout=ANSWER_WITHIN_S)
            with self._wake:
                self._registering = call
                if self._stopping:
                    call.cancel()
            try:
                _wait_for_answer(call, server)
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                return self._failed(profile, error)
        now = self._clock()
        profile.registered_with = kubelet
        profile.registered_at = now
        profile.believed = frozenset()
        profile.failures = 0
        if profile.dropped_by == kubelet:
            profile.drops = [each for each in profile.drops if now - each < DROPPED_WITHIN_S] + [now]
            _log.warning("the kubelet dropped %s and did not restart: registered anew", resource)
        else:
            _log.info("registered %s with the kubelet", resource)
        profile.dropped_by = None
        return True

    def _failed(self, profile: _Profile, error: grpc.RpcError | grpc.FutureCancelledError) -> bool:
        now = self._clock()
        _back_off(profile, now)
        if self._stopping or not isinstance(error, grpc.Call):
            return False
        _log.warning("cannot register %s: %s", profile.name.resource, error.details())
        answered = error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        if not answered:
            for other in self._all():
                other.retry_at = max(other.retry_at, profile.retry_at)
        return answered

    def _serve_anew(self, profile: _Profile) -> PluginServer:
        profile.generation += 1
        short = profile.name.resource.rpartition("/")[2].removeprefix("mig-")
        path = self._folder / f"{_OURS}{short}.{self._mark}.{profile.generation}.sock"
        profile.server = PluginServer(
            path, profile.feed, self._desk, threads=self._threads, listeners_changed=self._look
        )
        return profile.server

    def _report(self, now: float) -> None:
        profiles = self._all()
        owners = {each.name: why for each in profiles if (why := each.another_owner(now))}
        connected, reported = self._reported
        if profiles and connected != (connects := all(profile.connected for profile in profiles)):
            self._reported = (connects, reported)
            _log.info("connected to the kubelet" if connects else "not connected to the kubelet")
            self._on_connection(connects)
        if owners.keys() != reported.keys():
            self._reported = (self._reported[0], owners)
            for name, why in owners.items():
                _log.error("another plugin serves %s: %s", name.resource, why)
            self._on_owners(owners)

    def _others(self, profiles: tuple[_Profile, ...], now: float) -> dict[ProfileName, str]:
        """NVIDIA's plugins that answer on their sockets: looked for before each registration, and now and then."""
        settled = all(profile.registered_with is not None for profile in profiles)
        if settled and now - self._looked_for_others_at < LOOK_FOR_OTHERS_S:
            return {profile.name: profile.others_socket for profile in profiles}
        self._looked_for_others_at = now
        return nvidias_plugins(self._folder)

    def _remove_leftovers(self) -> None:
        """Of a predecessor that was killed."""
        for path in self._folder.glob(f"{_OURS}*.sock"):
            if not answers(path):
                path.unlink(missing_ok=True)

    def _all(self) -> tuple[_Profile, ...]:
        with self._wake:
            return tuple(self._profiles.values())

    def _look(self) -> None:
        with self._wake:
            self._awake = True
            self._wake.notify_all()


def _wait_for_answer(call: "grpc.Future[pb.Empty]", server: PluginServer) -> None:
    """A kubelet that has just started may be told of a socket that it has removed in that moment: it dials that for as
    long as it is asked.
    """
    while True:
        try:
            call.result(LOOK_S)
        except grpc.FutureTimeoutError:
            if not server.is_reachable():
                call.cancel()
        else:
            return


def _start_over(profile: _Profile, retry_at: float) -> None:
    profile.registered_with = None
    profile.failures = 0
    profile.retry_at = retry_at


def _back_off(profile: _Profile, now: float) -> None:
    profile.retry_at = now + _back_off_s(profile.failures)
    profile.failures += 1


def _back_off_s(times: int) -> float:
    return BACK_OFF_S[min(times, len(BACK_OFF_S) - 1)]


def _identity(path: Path) -> Identity | None:
    """Inode numbers are used again, so the time at which it was made counts too."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
