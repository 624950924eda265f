"""Who hangs is ended when a kubelet would have it ended, over virtual time; who merely was not asked in time is not."""

from dataclasses import dataclass, field

import pytest

from knative_mig.dev.node.pod_spec import HttpGet, Probe, ProbeKind
from knative_mig.dev.node.probing import Result
from knative_mig.dev.whole.liveness import Liveness, probes_of

CHECK = HttpGet(port=1, path="/healthz")
PROBES = {
    ProbeKind.STARTUP: Probe(check=CHECK, period_s=1, failures=60),
    ProbeKind.LIVENESS: Probe(check=CHECK, period_s=10, timeout_s=3),
}
OK = Result(succeeded=True)


@dataclass
class Story:
    """A part, and a clock that goes on while it is waited for and while somebody is asked."""

    now: float = 0.0
    life: int | None = 1
    hangs: bool = False
    takes_s: float | None = None  # to hear that a probe timed out; None: as long as it may
    no_files: bool = False
    ended: list[tuple[float, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.liveness = Liveness(PROBES, life=lambda: self.life, ask=self.ask, end=self.end, clock=lambda: self.now)

    def ask(self, probe: Probe) -> Result:
        if not self.hangs:
            return OK
        self.now += probe.timeout_s if self.takes_s is None else self.takes_s
        return Result(succeeded=False, output="it is silent", was_asked=not self.no_files)

    def end(self, life: int, why: str) -> None:
        self.ended.append((self.now, life, why))
        self.life, self.hangs = life + 1, False

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (wait := self.liveness.look()) + self.now < until:
            self.now += wait
        self.now = until


def test_who_fails_three_probes_in_a_row_is_ended_as_a_kubelet_would_and_the_next_one_is_asked_anew() -> None:
    story = Story()
    story.run(25)
    assert not story.ended
    story.hangs = True
    story.run(60)
    assert story.ended == [(54, 1, "failed its liveness probe 3 times in a row (it is silent)")]


def test_who_answers_now_and_then_is_let_be() -> None:
    story = Story()
    story.run(1)
    for _ in range(5):
        story.hangs = True
        story.run(20)
        story.hangs = False
        story.run(10)
    assert not story.ended


def test_who_has_just_been_started_is_given_its_minute() -> None:
    story = Story()
    story.run(5)
    story.life, story.hangs = 7, True
    story.run(55)
    assert not story.ended
    story.run(70)
    assert [(life, why) for _, life, why in story.ended] == [
        (7, "failed its startup probe 60 times in a row (it is silent)")
    ]


def test_who_is_away_is_not_asked_and_who_ends_while_it_is_asked_takes_no_failure_with_it() -> None:
    story = Story()
    story.run(5)
    story.life, story.hangs = None, True
    story.run(100)
    assert story.now == 105
    story.life, story.hangs = 2, False
    story.run(100)
    assert not story.ended


@pytest.mark.parametrize("stands_still_s", [4.5, 600.0])
def test_what_is_heard_too_late_is_no_failure(stands_still_s: float) -> None:
    """The whole machine stood still, or `dev` did."""
    story = Story()
    story.run(5)
    story.hangs, story.takes_s = True, stands_still_s
    story.run(10 * stands_still_s)
    assert not story.ended


def test_what_was_asked_too_late_is_no_failure() -> None:
    story = Story()
    story.run(5)
    story.hangs = True
    for _ in range(5):
        story.now += 30  # nobody looks meanwhile
        story.liveness.look()
    assert not story.ended
    story.run(60)
    assert len(story.ended) == 1


def test_who_could_not_be_asked_for_there_was_no_file_left_has_not_failed() -> None:
    story = Story()
    story.run(5)
    story.hangs, story.no_files = True, True
    story.run(300)
    assert not story.ended


@pytest.mark.parametrize("file", ["500-planner", "510-agent", "520-source", "530-webhook"])
def test_the_numbers_are_those_of_the_manifests(file: str) -> None:
    probes = probes_of(f"core/{file}.yaml", ("127.0.0.1", 4321))
    startup, liveness = probes[ProbeKind.STARTUP], probes[ProbeKind.LIVENESS]
    assert startup.check == liveness.check == HttpGet(host="127.0.0.1", port=4321, path="/healthz")
    assert (startup.period_s, startup.failures) == (1, 60)
    assert (liveness.period_s, liveness.timeout_s, liveness.failures) == (10, 3, 3)
