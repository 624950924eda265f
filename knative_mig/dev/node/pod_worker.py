"""Runs one pod from its admission to its end: the thread that does what `life` and `ending` decide.

Made by `kubelet`. Whatever happens, a change of the pod, a container's end, a probe's word, comes into one inbox and is
done on this thread, so that nothing here needs a lock; what takes its time (probes, hooks, an end) has threads of its
own, and answers into the inbox. The subtle thing is the order of an end: the status says how each container ended, then
the devices are given back, and only then the object goes, for with it goes the pod's name.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD
from knative_mig.adapters.kubelet.device_manager import AdmissionFailed
from knative_mig.core.errors import KnativeMigError
from knative_mig.dev.node import life, pod_status
from knative_mig.dev.node.addresses import NoAddress
from knative_mig.dev.node.back_off import BackOff, counted, counted_volume
from knative_mig.dev.node.container import Container, Ended, NotStarted
from knative_mig.dev.node.container_end import end_container
from knative_mig.dev.node.container_start import Blueprint, Starts
from knative_mig.dev.node.container_state import ContainerState, PodState, Running, Terminated, Waiting
from knative_mig.dev.node.images import UnknownImage
from knative_mig.dev.node.pod_spec import Pod, ProbeKind
from knative_mig.dev.node.prober import Prober, Target
from knative_mig.dev.node.surrounds import CannotMount, CannotSetUp
from knative_mig.dev.node.tools import Tools
from knative_mig.ports.kube import ClusterError, Conflict, EventType, ObjectNotFound, Refused, Subject

_log = logging.getLogger(__name__)
TRY_AGAIN_S: Final = 1.0
_SET_UP_AGAIN_S: Final = 10.0  # what is missing may come
_HEARD_WITHIN_S: Final = 1.5  # the agent asks each second
_HEARD_LOOK_S: Final = 0.05
_TAKEN_IN_S: Final = 0.1
_GONE_GRACE_S: Final = 2.0  # of a pod whose object was removed by force
_START_ERROR: Final = 128
_LOST: Final = 255  # nobody saw how it ended
_FAULT: Final = "KubeletFault"
_UNREADABLE: Final = "FailedValidation"  # the kubelet's word for a pod that it passes over


class PodWorker:
    def __init__(self, pod: Pod, tools: Tools, *, over: Callable[["PodWorker"], None]) -> None:
        """`over` is called at the end of its thread."""
        self.pod = pod
        self._tools, self._over = tools, over
        self._starts = Starts(tools, pod)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        specs = (*pod.init, *pod.containers)
        self._specs = {each.name: each for each in specs}
        self._state = PodState(containers={each.name: _found(pod, each.name, time.time()) for each in specs})
        self._running: dict[str, tuple[Container, Prober, Blueprint]] = {}
        self._written: dict[str, Any] = {}
        self._conditions: dict[str, dict[str, Any]] = {}
        self._write_at: float | None = None
        self._gone = self._done = self._halted = False
        self._freed = False
        self._freed_at = float("-inf")  # where it had devices
        self._heard_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"pod-{pod.key.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    # From other threads

    def is_running(self, container: str, life: int) -> bool:
        current = self._state.containers.get(container)
        return current is not None and isinstance(current.now, Running) and current.restarts == life

    def may_be_killed(self) -> Mapping[str, int]:
        """Of its containers that run and would be back at once, for one that is put off serves nobody for minutes: the
        first process's id.
        """
        now, state, running = time.time(), self._state, tuple(self._running.items())
        return {name: each.pid for name, (each, _, _) in running if life.is_back_at_once(self.pod, state, name, now)}

    def update(self, pod: Pod) -> None:
        self._inbox.put(lambda: self._updated(pod))

    def gone(self) -> None:
        """Its object is: there is nothing to be told any more."""
        self._inbox.put(self._object_gone)

    def halt(self, grace_s: float) -> None:
        """The node ends; the pod's object stays as it is, for the next start."""
        self._inbox.put(lambda: self._halt(grace_s))

    # On this one

    def _run(self) -> None:
        try:
            while not self._is_admitted():
                self._take(TRY_AGAIN_S)
            while not self._done:
                wait_s = self._look()
                if not self._done:
                    self._take(wait_s)
        except Exception:  # noqa: BLE001 - one pod's, and the others run on
            _log.exception("pod %s/%s is given up", *self._names)
            self._give_up()
        finally:
            self._free()
            self._over(self)

    def _take(self, wait_s: float | None) -> None:
        """All that has come, or nothing in that time."""
        try:
            self._inbox.get(timeout=wait_s)()
        except queue.Empty:
            return
        while not self._inbox.empty():
            self._inbox.get()()

    @property
    def _names(self) -> tuple[str, str]:
        return self.pod.key.namespace, self.pod.key.name

    def _is_admitted(self) -> bool:
        """Or refused for good. Not yet: there is no file left for its address."""
        if self.pod.deleted:
            self._state = replace(self._state, ending=True)
            return True
        if self.pod.unreadable:
            self._refuse(_UNREADABLE, self.pod.unreadable)
            return True
        try:
            port = self.pod.containers[0].port if self.pod.containers else 0
            address = self._tools.addresses.take(self.pod.uid, port)
            for spec in self._specs.values():
                for resource, count in spec.devices.items():
                    self._tools.devices.admit(self.pod.key, spec.name, resource, count)
        except (AdmissionFailed, NoAddress) as refused:
            reason = refused.reason if isinstance(refused, AdmissionFailed) else "UnexpectedAdmissionError"
            self._refuse(reason, str(refused))
            return True
        except OSError as error:
            self._tell(EventType.WARNING, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error.strerror}")
            return False
        self._state = replace(self._state, ip=address, began_at=time.time())
        self._write()
        return True

    def _refuse(self, reason: str, message: str) -> None:
        self._state = replace(self._state, refused=(reason, message))
        self._tell(EventType.WARNING, reason, message)

    def _look(self) -> float | None:
        """Does what is due; the seconds until the next look, if there is one to be expected."""
        now = time.time()
        following = life.decide(self.pod, self._state, now)
        if following.state.overdue and not self._state.overdue:
            self._tell(EventType.NORMAL, pod_status.OVERDUE, pod_status.OVERDUE_MESSAGE)
        self._state = following.state
        for name in following.backs_off:
            self._tell_back_off(name)
        self._begin_all(following.start)
        if self._state.ending or self._state.overdue:
            self._end_all()
        if life.is_over(self.pod, self._state) or (self._state.ending and not self._running):
            self._free()
            if not self._is_heard():
                return _HEARD_LOOK_S
        if not self._gone and not self._halted:
            self._write()
        if self._state.ending and not self._running:
            self._finish()
        times = [each for each in (following.look_at, self._write_at) if each is not None]
        if following.start:  # how they began may call for more
            return 0.0
        return max(0.0, min(times) - time.time()) if times else None

    def _begin_all(self, names: tuple[str, ...]) -> None:
        """The volumes are the pod's: one that cannot be had is told of once, and is in the way of all of them."""
        for at, name in enumerate(names):
            try:
                self._begin(name)
            except CannotMount as error:
                self._tell(EventType.WARNING, error.reason, str(error))
                now = time.time()
                for each in names[at:]:
                    current = self._state.containers[each]
                    before = current.back_off if current.failed_at is not None else None
                    self._waits(each, Waiting(), counted_volume(before, now))
                return

    def _begin(self, name: str) -> None:
        """CannotMount."""
        spec, current = self._specs[name], self._state.containers[name]
        last = current.now if isinstance(current.now, Terminated) else current.last
        begun = replace(current, last=last, restarts=current.restarts + (last is not None), image=spec.image)
        try:
            made = self._starts.make(self.pod, spec, self._state.ip, begun.restarts)
        except CannotMount:
            raise
        except UnknownImage as error:
            now = time.time()
            self._tell(EventType.WARNING, "Failed", f'Failed to pull image "{spec.image}": {error}')
            self._cannot_begin(name, error.reason, str(error), counted(current.back_off, current.failed_at or now, now))
        except (ClusterError, OSError) as error:
            self._cannot_begin(name, CannotSetUp.reason, str(error), BackOff(_SET_UP_AGAIN_S, time.time()))
        except KnativeMigError as error:
            self._cannot_begin(name, error.reason, str(error), BackOff(_SET_UP_AGAIN_S, time.time()))
        else:
            if made.from_image:
                text = f'Container image "{spec.image}" already present on machine and can be accessed by the pod'
                self._tell(EventType.NORMAL, "Pulled", text)
            self._launch(name, made, replace(begun, back_off=life.counted_start(current, time.time()), failed_at=None))

    def _cannot_begin(self, name: str, reason: str, message: str, back_off: BackOff) -> None:
        told = reason if reason == life.ERR_IMAGE_PULL else message
        self._tell(EventType.WARNING, "Failed", f"Error: {told}")
        self._waits(name, Waiting(reason=reason, message=message), back_off)

    def _waits(self, name: str, waiting: Waiting, back_off: BackOff) -> None:
        current = self._state.containers[name]
        last = current.now if isinstance(current.now, Terminated) else current.last
        self._put(name, replace(current, now=waiting, last=last, failed_at=back_off.counted_at, back_off=back_off))

    def _launch(self, name: str, made: Blueprint, begun: ContainerState) -> None:
        spec = self._specs[name]
        try:
            container = Container.start(
                made.command, lambda one, ended: self._inbox.put(lambda: self._ended(name, one, ended))
            )
        except NotStarted as error:
            self._tell(EventType.WARNING, "Failed", f"Error: {error}")
            ended = Terminated(
                id=made.id,
                exit_code=_START_ERROR,
                started_at=0.0,
                finished_at=time.time(),
                reason="StartError",
                message=str(error),
            )
            self._put(name, replace(begun, now=ended, started=False, ready=False))
            return
        self._tell(EventType.NORMAL, "Created", "Container created")
        self._tell(EventType.NORMAL, "Started", "Container started")
        prober = Prober(
            spec,
            Target(address=self._state.ip, command=made.beside),
            changed=lambda kind, good: self._inbox.put(lambda: self._probed(name, container, kind, good)),
            failed=lambda kind, why: self._tell(EventType.WARNING, "Unhealthy", f"{kind} probe failed: {why}"),
        )
        self._running[name] = (container, prober, made)
        started = not prober.has_startup
        running = Running(id=made.id, started_at=container.started_at)
        self._put(name, replace(begun, now=running, started=started, ready=started and not prober.has_readiness))
        prober.start()
        self._starts.after(spec, made, container, self._state.ip)

    def _ended(self, name: str, container: Container, ended: Ended) -> None:
        running = self._running.get(name)
        if running is None or running[0] is not container:
            return
        _, prober, made = self._running.pop(name)
        prober.stop()
        spec, current = self._specs[name], self._state.containers[name]
        message = ""
        if spec.last_words and ended.code:
            message = self._tools.logs.last_words(self.pod.key, self.pod.uid, name, current.restarts)
        terminated = Terminated(
            id=made.id,
            exit_code=ended.code,
            signal=ended.signal,
            started_at=container.started_at,
            finished_at=ended.at,
            message=message,
        )
        self._put(name, replace(current, now=terminated, started=False, ready=False))

    def _probed(self, name: str, container: Container, kind: ProbeKind, good: bool) -> None:  # noqa: FBT001
        running = self._running.get(name)
        if running is None or running[0] is not container:
            return
        current, prober = self._state.containers[name], running[1]
        match kind:
            case ProbeKind.READINESS:
                self._put(name, replace(current, ready=good))
            case ProbeKind.STARTUP if good:
                self._put(name, replace(current, started=True, ready=not prober.has_readiness))
            case ProbeKind.STARTUP | ProbeKind.LIVENESS if not good and not self._state.ending:
                grace = self._specs[name].probes[kind].grace_s
                self._end(name, f"Container {name} failed {kind.lower()} probe, will be restarted", grace)
            case _:
                pass

    def _updated(self, pod: Pod) -> None:
        if pod.unreadable:  # what it runs is what it was when it could be read
            pod = replace(self.pod, deleted=pod.deleted, deletion_grace_s=pod.deletion_grace_s)
        self.pod = pod
        if pod.deleted and not self._state.ending:
            self._state = replace(self._state, ending=True)

    def _object_gone(self) -> None:
        self._gone = True
        self.pod = replace(self.pod, deleted=True, deletion_grace_s=min(self.pod.deletion_grace_s, _GONE_GRACE_S))
        self._state = replace(self._state, ending=True)

    def _halt(self, grace_s: float) -> None:
        self._halted = True
        self.pod = replace(self.pod, deleted=True, deletion_grace_s=grace_s)
        self._state = replace(self._state, ending=True)

    # The end

    def _end_all(self) -> None:
        for name, (_, prober, made) in self._running.items():
            prober.pod_deleted()
            if not made.ending.is_set():
                self._end(name, f"Stopping container {name}", None)

    def _end(self, name: str, why: str, grace_s: float | None) -> None:
        """`grace_s`: in place of the pod's own. Once the pod is deleted the deletion's counts."""
        container, _, made = self._running[name]
        if made.ending.is_set():
            return
        made.ending.set()
        self._tell(EventType.NORMAL, "Killing", why)

        def grace() -> float:
            return (
                self.pod.deletion_grace_s
                if self._state.ending
                else (grace_s if grace_s is not None else self.pod.grace_s)
            )

        traffic = self._tools.traffic if self._state.ending and not (self._gone or self._halted) else None
        threading.Thread(
            target=end_container,
            args=(container, self._specs[name], Target(address=self._state.ip, command=made.beside)),
            kwargs={
                "grace": grace,
                "quiet_s": self._tools.settings.quiet_s if traffic and self.pod.of_a_function else 0.0,
                "last_came": (lambda: traffic.last_came(self.pod.key)) if traffic else (lambda: None),
                "hook_failed": lambda: self._tell(EventType.WARNING, "FailedPreStopHook", "PreStopHook failed"),
            },
            name=f"end-{self.pod.key.name}-{name}",
            daemon=True,
        ).start()

    def _finish(self) -> None:
        """Nothing of it runs."""
        if self._halted:
            self._done = True
            return
        self._free()
        self._starts.folder.remove()
        if not self._gone:
            if self._write_at is not None:
                return
            try:
                self._remove()
            except (ObjectNotFound, Conflict):
                pass
            except ClusterError as error:
                _log.warning("pod %s/%s cannot be removed yet: %s", *self._names, error)
                self._write_at = time.time() + TRY_AGAIN_S
                return
        self._tools.logs.remove(self.pod.key, self.pod.uid)
        self._done = True

    def _give_up(self) -> None:
        """After a fault of ours. One that nobody minds any more is not to stay as if it ran: requests would go to an
        address that is soon another's. Whoever owns it puts another in its place.
        """
        for container, prober, _ in self._running.values():
            prober.stop()
            container.kill()
        if self._gone or self._halted:
            return
        why = {"status": "False", "reason": "PodFailed", "lastTransitionTime": time_text(int(time.time()))}
        status = {
            "phase": "Failed",
            "reason": _FAULT,
            "message": "a fault of knative-mig dev itself: its log has it",
            "conditions": [{"type": each, **why} for each in ("Ready", "ContainersReady")],
        }
        try:
            patch = {"metadata": {"uid": self.pod.uid}, "status": status}
            self._tools.client.merge_strategically(POD, self.pod.key, patch, subresource="status")
            if self.pod.deleted:
                self._remove()
        except ClusterError as error:
            _log.warning("pod %s/%s: nobody is told: %s", *self._names, error)

    def _remove(self) -> None:
        """Its object, of which nothing runs any more. ClusterError."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod.uid}}
        self._tools.client.delete(POD, self.pod.key, options)

    def _free(self) -> None:
        """Its devices and its address are another's from here on."""
        if not self._freed:
            self._freed = True
            if not self._halted and self._tools.devices.release(self.pod.key):
                self._freed_at = time.monotonic()
            self._tools.addresses.give_back(self.pod.uid)

    def _is_heard(self) -> bool:
        """Whether the node agent has had the time to see that its devices are free. Until then it gives a slice that
        its relay gave back early to nobody, and whoever the scheduler sent in this pod's place would be refused. A real
        kubelet takes about as long from the last container's end until it is told of.
        """
        now = time.monotonic()
        if self._heard_at is None and self._tools.devices.listed_at > self._freed_at:
            self._heard_at = now
        heard = self._heard_at is not None and now - self._heard_at > _TAKEN_IN_S
        return heard or now - self._freed_at > _HEARD_WITHIN_S

    # What others are told

    def _put(self, name: str, state: ContainerState) -> None:
        self._state = replace(self._state, containers={**self._state.containers, name: state})

    def _write(self) -> None:
        """Nothing of one that was told to end before it began here: what it was is written."""
        now = time.time()
        if self._state.began_at is None and not self._state.refused:
            return
        if self._write_at is not None and now < self._write_at:
            return
        body = pod_status.status(self.pod, self._state)
        if body == self._written:
            self._write_at = None
            return
        sent = dict(body)
        if "conditions" in body:
            sent["conditions"] = pod_status.with_times(body["conditions"], self._conditions, now)
        patch = {"metadata": {"uid": self.pod.uid}, "status": sent}
        try:
            self._tools.client.merge_strategically(POD, self.pod.key, patch, subresource="status")
        except (ObjectNotFound, Conflict, Refused) as error:
            _log.info("the status of pod %s/%s is not written: %s", *self._names, error)
            self._written, self._write_at = body, None
        except ClusterError as error:
            _log.warning("the status of pod %s/%s is not written yet: %s", *self._names, error)
            self._write_at = now + TRY_AGAIN_S
        else:
            self._written, self._write_at = body, None
            self._conditions = {each["type"]: each for each in sent.get("conditions", ())}

    def _tell_back_off(self, name: str) -> None:
        spec, waiting = self._specs[name], self._state.containers[name].now
        assert isinstance(waiting, Waiting)
        if waiting.reason == life.IMAGE_BACK_OFF:
            self._tell(EventType.NORMAL, "BackOff", f'Back-off pulling image "{spec.image}"')
            self._tell(EventType.WARNING, "Failed", f"Error: {waiting.reason}")
        else:
            named = life.named(self.pod)
            self._tell(EventType.WARNING, "BackOff", f"Back-off restarting failed container {name} in pod {named}")

    def _tell(self, kind: EventType, reason: str, message: str) -> None:
        subject = Subject(
            api_version="v1", kind="Pod", namespace=self.pod.key.namespace, name=self.pod.key.name, uid=self.pod.uid
        )
        self._tools.events.record(subject, kind, reason, message)


def _found(pod: Pod, container: str, now: float) -> ContainerState:
    """As it is first seen: one that its status says to run ended with the process that had started it."""
    if pod.phase != "Running" or container not in pod.restarted:
        return ContainerState()
    lost = Terminated(id="", exit_code=_LOST, started_at=0.0, finished_at=now, reason="Unknown")
    return ContainerState(now=lost, restarts=pod.restarted[container])
