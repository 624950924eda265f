"""Probes over virtual time."""

import pytest

from knative_mig.dev.node.pod_spec import Probe, ProbeKind, TcpSocket
from knative_mig.dev.node.pod_spec import pod as parsed
from knative_mig.dev.node.probe_clock import ProbeClock
from tests.unit.dev.node.pods import container, pod

CHECK = TcpSocket(port=8080)


def story(kind: ProbeKind, probe: Probe, results: str) -> list[tuple[float, bool | None]]:
    """When each was asked, from the start, and the verdict after it. `+` is a success, `-` a failure."""
    clock, seen = ProbeClock.begun(kind, probe, 0.0), []
    for result in results:
        assert not clock.over
        now = clock.due_at
        clock = clock.after(now, succeeded=result == "+")
        seen.append((round(now, 3), clock.verdict))
    return seen


def test_readiness_comes_and_goes_by_its_thresholds() -> None:
    probe = Probe(check=CHECK, initial_delay_s=3, period_s=5, successes=2, failures=2)
    assert story(ProbeKind.READINESS, probe, "++-+--") == [
        (3, False), (8, True), (13, True), (18, True), (23, True), (28, False),
    ]  # fmt: skip


def test_liveness_is_given_until_it_has_failed_often_enough_and_then_asks_no_more() -> None:
    probe = Probe(check=CHECK, failures=3)
    assert [verdict for _, verdict in story(ProbeKind.LIVENESS, probe, "--+---")][-2:] == [True, False]
    clock = ProbeClock.begun(ProbeKind.LIVENESS, Probe(check=CHECK, failures=1), 0.0).after(0.0, succeeded=False)
    assert clock.over


def test_startup_is_not_known_until_it_succeeds_and_then_is_over() -> None:
    probe = Probe(check=CHECK, failures=30, period_s=1)
    assert story(ProbeKind.STARTUP, probe, "--+") == [(0, None), (1, None), (2, True)]
    clock = ProbeClock.begun(ProbeKind.STARTUP, probe, 0.0).after(0.0, succeeded=True)
    assert clock.over


def test_a_functions_readiness_is_asked_for_every_50_ms_until_it_is_there_and_then_as_any_others() -> None:
    probe = Probe(check=CHECK, eager=True)
    asked = [when for when, _ in story(ProbeKind.READINESS, probe, "---+++")]
    assert asked == [0, 0.05, 0.1, 0.15, 10.15, 20.15]


def told(kind: ProbeKind, probe: Probe, until: float, *, ready_from: float = float("inf")) -> list[float]:
    """When a failure is to be told, of one that listens once it is time."""
    clock = ProbeClock.begun(kind, probe, 0.0)
    seen: list[float] = []
    while (now := clock.due_at) < until:
        succeeded = now >= ready_from
        if not succeeded and clock.tells(now):
            seen.append(round(now))
        clock = clock.after(now, succeeded=succeeded)
    return seen


def test_each_failure_is_told_but_of_a_function_that_starts_as_many_as_a_kubelet_would_see() -> None:
    patient, eager = Probe(check=CHECK, period_s=5), Probe(check=CHECK, period_s=1, eager=True)
    assert told(ProbeKind.READINESS, patient, 20) == [0, 5, 10, 15]
    assert told(ProbeKind.LIVENESS, eager, 3) == [0, 1, 2]
    assert told(ProbeKind.READINESS, eager, 35) == [10, 20, 30]
    assert told(ProbeKind.READINESS, eager, 35, ready_from=9) == []  # it started, as functions do


def test_a_function_that_falls_ill_is_told_of_at_once() -> None:
    clock = ProbeClock.begun(ProbeKind.READINESS, Probe(check=CHECK, period_s=1, eager=True), 0.0)
    clock = clock.after(3.0, succeeded=True)
    assert clock.tells(4.0)


@pytest.mark.parametrize(
    ("label", "probe", "eager"),
    [
        ({"serving.knative.dev/revision": "r"}, {"tcpSocket": {"port": 0}}, True),
        ({"serving.knative.dev/revision": "r"}, {"tcpSocket": {"port": 0}, "periodSeconds": 1}, True),
        ({"serving.knative.dev/revision": "r"}, {"tcpSocket": {"port": 0}, "periodSeconds": 10}, False),
        ({}, {"tcpSocket": {"port": 0}}, False),
    ],
    ids=["knatives-default", "and-as-servings-stand-in-writes-it", "a-period-of-its-users", "no-function"],
)
def test_whose_readiness_is_asked_for_so_often(label: dict[str, str], probe: dict[str, object], *, eager: bool) -> None:
    body = pod(
        metadata={"labels": label}, containers=[container(readinessProbe=probe, ports=[{"containerPort": 9000}])]
    )
    found = parsed(body).containers[0].probes[ProbeKind.READINESS]
    assert (found.eager, found.check) == (eager, TcpSocket(port=9000))
