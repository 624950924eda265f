"""A pod's containers over virtual time: when each is started, and what is said of the pod meanwhile."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from knative_mig.dev.node import life, pod_status
from knative_mig.dev.node.back_off import BackOff, counted_volume
from knative_mig.dev.node.container_state import ContainerState, PodState, Running, Terminated, Waiting
from knative_mig.dev.node.pod_spec import pod as parsed
from tests.unit.dev.node.pods import Object, container, pod


@dataclass
class Told:
    """A worker without processes: what is started runs until the test ends it."""

    body: Object
    now: float = 1000.0
    started: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pod = parsed(self.body)
        names = [each.name for each in (*self.pod.init, *self.pod.containers)]
        self.state = PodState(containers={name: ContainerState() for name in names}, ip="127.64.0.1")

    def look(self) -> life.Next:
        following = life.decide(self.pod, self.state, self.now)
        self.state = following.state
        for name in following.start:
            self.started.append((name, self.now))
            current = self.state.containers[name]
            last = current.now if isinstance(current.now, Terminated) else current.last
            self.put(
                name,
                now=Running(id=name, started_at=self.now),
                last=last,
                restarts=current.restarts + (last is not None),
                back_off=life.counted_start(current, self.now),
                started=True,
                ready=True,
                failed_at=None,
            )
        return following

    def put(self, name: str, **changes: Any) -> None:
        changed = replace(self.state.containers[name], **changes)
        self.state = replace(self.state, containers={**self.state.containers, name: changed})

    def end(self, name: str = "user-container", code: int = 1) -> None:
        ended = Terminated(id=name, exit_code=code, started_at=0.0, finished_at=self.now)
        self.put(name, now=ended, started=False, ready=False)

    def would_be_back(self) -> bool:
        return life.is_back_at_once(self.pod, self.state, "user-container", self.now)

    def at_next_look(self) -> None:
        """As the worker waits."""
        following = self.look()
        assert following.look_at is not None
        assert following.look_at > self.now
        self.now = following.look_at
        self.look()

    @property
    def status(self) -> Object:
        return pod_status.status(self.pod, self.state)

    def shown(self, name: str = "user-container") -> Object:
        found = [*self.status["containerStatuses"], *self.status.get("initContainerStatuses", [])]
        return next(each for each in found if each["name"] == name)

    def condition(self, kind: str) -> Object:
        return next(each for each in self.status["conditions"] if each["type"] == kind)


def test_one_that_ends_again_and_again_waits_twice_as_long_each_time_up_to_five_minutes() -> None:
    story = Told(pod())
    story.look()
    story.end()
    story.look()  # at once, the first time
    waits = []
    for _ in range(7):
        story.end()
        ended = story.now
        story.at_next_look()
        waits.append(story.now - ended)
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    assert story.shown()["restartCount"] == 8


def test_while_it_waits_it_is_told_as_kubernetes_tells() -> None:
    story = Told(pod())
    story.look()
    for _ in range(5):
        story.end(code=3)
        following = story.look()
        if following.look_at:
            assert following.backs_off == ("user-container",)
            assert story.look().backs_off == ()  # told once
            waiting, last = story.shown()["state"]["waiting"], story.shown()["lastState"]["terminated"]
            assert waiting["reason"] == "CrashLoopBackOff"
            assert (last["exitCode"], last["reason"]) == (3, "Error")
            assert story.status["phase"] == "Running"
            story.now = following.look_at
            story.look()
    story.end()
    story.look()
    assert story.shown()["state"]["waiting"]["message"] == (
        "back-off 2m40s restarting failed container=user-container pod=chat_default(uid-chat)"
    )


def test_after_ten_good_minutes_nothing_is_counted_any_more() -> None:
    story = Told(pod())
    for _ in range(3):
        story.look()
        story.end()
    story.at_next_look()
    story.now += 601
    story.end()
    story.look()
    assert story.started[-1] == ("user-container", story.now)


def test_one_that_is_killed_is_back_at_once_but_not_twice_in_ten_minutes_and_not_where_its_pod_ends() -> None:
    told = Told(pod())
    told.look()
    assert told.would_be_back()
    assert not replace(told, body=pod(restartPolicy="Never")).would_be_back()
    told.end(code=137)
    told.look()
    assert not told.would_be_back()
    told.now += 601
    assert told.would_be_back()
    told.state = replace(told.state, ending=True)
    assert not told.would_be_back()


def test_one_that_never_ran_is_pending_and_then_runs_and_is_ready() -> None:
    story = Told(pod())
    assert (story.status["phase"], story.shown()["state"]) == ("Pending", {"waiting": {"reason": "ContainerCreating"}})
    story.look()
    assert (story.status["phase"], story.condition("Ready")["status"]) == ("Running", "True")
    story.put("user-container", ready=False)
    assert story.condition("ContainersReady") == {
        "type": "ContainersReady",
        "status": "False",
        "reason": "ContainersNotReady",
        "message": "containers with unready status: [user-container]",
    }


@pytest.mark.parametrize(
    ("policy", "code", "phase", "again"),
    [
        ("Always", 0, "Running", True),
        ("OnFailure", 0, "Succeeded", False),
        ("OnFailure", 1, "Running", True),
        ("Never", 0, "Succeeded", False),
        ("Never", 1, "Failed", False),
    ],
)
def test_what_becomes_of_a_pod_whose_container_has_ended(policy: str, code: int, phase: str, *, again: bool) -> None:
    story = Told(pod(restartPolicy=policy))
    story.look()
    story.end(code=code)
    assert story.status["phase"] == phase
    story.look()
    assert len(story.started) == 1 + again
    assert life.is_over(story.pod, story.state) is not again


def test_containers_of_the_start_succeed_one_by_one_before_the_others_begin() -> None:
    story = Told(pod(initContainers=[container("first"), container("second")]))
    story.look()
    assert story.shown()["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert story.status["initContainerStatuses"][1]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert story.condition("Initialized")["message"] == "containers with incomplete status: [first second]"
    story.end("first", 1)
    story.look()  # tried again
    story.end("first", 0)
    story.look()
    story.end("second", 0)
    story.look()
    assert [name for name, _ in story.started] == ["first", "first", "second", "user-container"]
    assert (story.condition("Initialized")["status"], story.status["phase"]) == ("True", "Running")


def test_a_start_that_fails_for_good_fails_the_pod() -> None:
    story = Told(pod(initContainers=[container("first")], restartPolicy="Never"))
    story.look()
    story.end("first", 1)
    assert story.look().start == ()
    assert story.status["phase"] == "Failed"


def test_an_image_that_is_not_there_is_an_error_first_and_then_waited_for() -> None:
    story = Told(pod())
    failed = Waiting(reason="ErrImagePull", message="no such image")
    story.put("user-container", now=failed, failed_at=story.now, back_off=BackOff(10, story.now))
    story.look()
    assert story.shown()["state"]["waiting"]["reason"] == "ErrImagePull"
    story.now += life.ERROR_SHOWN_S
    assert story.look().backs_off == ("user-container",)
    assert story.shown()["state"]["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "dev.local/tiny-llm": ErrImagePull: no such image',
    }
    assert story.status["phase"] == "Pending"
    story.now += 8
    story.look()
    assert story.started == [("user-container", 1010.0)]


def test_a_volume_is_tried_again_soon_and_then_ever_more_seldom() -> None:
    tried = [counted_volume(None, 0.0)]
    for _ in range(9):
        tried.append(counted_volume(tried[-1], 0.0))
    assert [each.wait_s for each in tried] == [0.5, 1, 2, 4, 8, 16, 32, 64, 122, 122]


def test_of_one_that_is_told_to_end_nothing_is_started_again() -> None:
    story = Told(pod())
    story.look()
    story.state = replace(story.state, ending=True)
    story.end(code=0)
    assert story.look().start == ()
    assert story.status["phase"] == "Succeeded"
    story.end(code=143)
    assert (story.status["phase"], story.condition("Ready")["reason"]) == ("Failed", "PodFailed")


def test_one_whose_time_is_over_has_failed_as_soon_as_its_containers_have_ended() -> None:
    story = Told(pod(activeDeadlineSeconds=5))
    story.state = replace(story.state, began_at=story.now)
    assert story.look().look_at == 1005.0
    story.now += 5
    story.look()
    assert story.status["phase"] == "Running"
    story.end(code=0)
    assert story.look().start == ()
    assert life.is_over(story.pod, story.state)
    assert (
        story.status.items()
        >= {
            "phase": "Failed",
            "reason": "DeadlineExceeded",
            "message": "Pod was active on the node longer than the specified deadline",
        }.items()
    )


def test_one_that_is_over_in_time_stays_as_it_ended() -> None:
    story = Told(pod(activeDeadlineSeconds=5, restartPolicy="Never"))
    story.state = replace(story.state, began_at=story.now)
    story.look()
    story.end(code=0)
    story.now += 6
    assert story.look().look_at is None
    assert (story.status["phase"], "reason" in story.status) == ("Succeeded", False)


def test_one_that_was_not_admitted_says_why_and_nothing_else() -> None:
    story = Told(pod())
    story.state = replace(story.state, refused=("UnexpectedAdmissionError", "Allocate failed due to x"))
    assert story.look().start == ()
    assert story.status == {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": "Pod was rejected: Allocate failed due to x",
    }


def test_a_condition_keeps_the_time_at_which_it_became_so() -> None:
    first = pod_status.with_times([{"type": "Ready", "status": "False", "reason": "A"}], {}, 1000.0)
    second = pod_status.with_times([{"type": "Ready", "status": "False", "reason": "B"}], {"Ready": first[0]}, 2000.0)
    third = pod_status.with_times([{"type": "Ready", "status": "True"}], {"Ready": second[0]}, 3000.0)
    times = [each["lastTransitionTime"] for (each,) in (first, second, third)]
    assert times == ["1970-01-01T00:16:40Z", "1970-01-01T00:16:40Z", "1970-01-01T00:50:00Z"]
