"""A cold start taken apart: what watches and logs told becomes moments, moments become spans, spans become figures."""

from typing import Any

import pytest

from bench import coldstart
from bench.start_notes import Before, Note, moments, seconds, told_in_logs
from bench.start_spans import OTHERS, OWN, Kind, Start, by_phase, by_span, figures, quantile

ASKED = 100.0
BEFORE = Before(
    namespace="ns",
    service="llm",
    revision="llm-00001",
    profile="3g.20gb",
    pods=frozenset({"drains"}),
    slices=frozenset({"MIG-old"}),
    specs={"gpu-1": [{"uuid": "GPU-1", "slices": []}]},
    offered={"gpu-1": 1},
)
MERGE = {
    "wanted": 0.05, "pending event": 0.07, "pod created": 0.08, "plan": 0.1, "cut": 0.2, "offered": 0.23, "slice": 0.25,
    "schedulable": 0.27, "scheduled": 0.28, "started": 0.9, "ready": 1.2, "first byte": 1.0,
}  # fmt: skip
PLAIN = {"wanted": 0.05, "pod created": 0.08, "schedulable": 0.08, "scheduled": 0.1, "started": 0.7, "first byte": 0.8}


def pod(*, uid: str = "new", gates: tuple[str, ...] = (), node: str = "", started: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "uid": uid, "labels": {"serving.knative.dev/service": "llm"}},
        "spec": {"schedulingGates": [{"name": gate} for gate in gates], **({"nodeName": node} if node else {})},
        "status": {"containerStatuses": [{"state": {"running": {}} if started else {"waiting": {}}}] if node else []},
    }


def gpu_node(spec: list[dict[str, Any]], *uuids: str) -> dict[str, Any]:
    slices = [{"profile": "3g.20gb", "start": 4, "state": "Idle", "migUUID": uuid} for uuid in uuids]
    return {
        "metadata": {"name": "gpu-1"},
        "spec": {"gpus": spec},
        "status": {"gpus": [{"uuid": "GPU-1", "slices": slices}]},
    }


def node(count: int) -> dict[str, Any]:
    return {"metadata": {"name": "gpu-1"}, "status": {"allocatable": {"nvidia.com/mig-3g.20gb": str(count)}}}


def scale(desired: int, revision: str = "llm-00001") -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": revision}, "status": {"desiredScale": desired}}


# ---------------------------------------------------------------- what was seen


def test_each_moment_is_the_first_time_that_its_change_was_seen() -> None:
    wanted = [{"uuid": "GPU-1", "slices": [{"profile": "3g.20gb", "start": 4}]}]
    told = [
        ("podautoscalers", scale(0)),
        ("podautoscalers", scale(1)),
        ("pods", pod(gates=("knative-mig.dev/slice",))),
        ("gpunodes", gpu_node([{"uuid": "GPU-1", "slices": []}], "MIG-old")),
        ("gpunodes", gpu_node(wanted, "MIG-old")),
        ("nodes", node(1)),
        ("nodes", node(2)),
        ("gpunodes", gpu_node(wanted, "MIG-old", "MIG-new")),
        ("pods", pod()),
        ("pods", pod(node="gpu-1")),
        ("pods", pod(node="gpu-1", started=True)),
        ("pods", pod(node="gpu-1", started=True)),
    ]
    notes = [Note(ASKED + number, plural, "MODIFIED", item) for number, (plural, item) in enumerate(told)]

    assert moments(notes, BEFORE, ASKED) == {
        "wanted": 1, "pod created": 2, "plan": 4, "offered": 6, "slice": 7, "schedulable": 8, "scheduled": 9,
        "started": 10,
    }  # fmt: skip


@pytest.mark.parametrize(
    "note",
    [
        Note(ASKED, "podautoscalers", "MODIFIED", scale(1, "other-00001")),
        Note(ASKED, "pods", "MODIFIED", pod(uid="drains")),
        Note(ASKED, "pods", "DELETED", pod()),
    ],
)
def test_what_others_do_is_no_moment_of_this_start(note: Note) -> None:
    assert moments([note], BEFORE, ASKED) == {}


def test_logs_tell_when_the_sink_had_the_event_and_when_the_gpu_was_cut() -> None:
    agent = "INFO reconfigurer.agent.gpu_loop:"
    lines = [
        "2026-01-02T03:04:04.900000000Z DEBUG activator_hooks.source.desk: Sent: 'ns/llm-00001 an-id-of-before'",
        "2026-01-02T03:04:05.100000000Z DEBUG activator_hooks.source.desk: Sent: 'ns/other-00001 an-id'",
        "2026-01-02T03:04:05.250000000Z DEBUG activator_hooks.source.desk: Sent: 'ns/llm-00001 an-id'",
        "2026-01-02T03:04:05.500000000Z DEBUG activator_hooks.source.desk: Sent: 'ns/llm-00001 an-id-again'",
        f"2026-01-02T03:04:05.300000000Z {agent} Destroyed GPU-1/2g.10gb/4: it is not wanted",
        f"2026-01-02T03:04:05.400000000Z {agent} Created GPU-1/3g.20gb/4: it is wanted",
        "",
    ]

    told = told_in_logs(lines, BEFORE, seconds("2026-01-02T03:04:05Z"))

    assert told == pytest.approx({"pending event": 0.25, "cut": 0.4})


# ---------------------------------------------------------------- spans


def test_spans_of_a_merge_follow_one_another_and_the_rest_is_said() -> None:
    start = Start(kind=Kind.MERGE, reached=MERGE)

    assert start.own == pytest.approx(
        {
            "event sent": 0.02,
            "plan, spec written": 0.02,
            "taken back, NVML": 0.1,
            "plugin push, node patch": 0.03,
            "status told": 0.02,
            "gate lifted": 0.02,
        }
    )
    assert tuple(start.own) == OWN
    assert tuple(start.others) == OTHERS
    # From the request to the event and its pod we wait for Knative, and it is counted there.
    assert start.own_s + sum(start.others.values()) + start.rest == pytest.approx(start.total)
    assert start.rest == pytest.approx(-0.02)  # the event went out while the pod was made


def test_a_plan_that_did_not_wait_for_its_pod_began_with_the_event() -> None:
    start = Start(kind=Kind.MERGE, reached=MERGE | {"pod created": 0.15})

    assert start.own["plan, spec written"] == pytest.approx(0.03)
    assert start.own["gate lifted"] == pytest.approx(0.02)


def test_a_gate_that_waits_for_its_pod_is_ours_only_from_then_on() -> None:
    start = Start(kind=Kind.MERGE, reached=MERGE | {"pod created": 0.26})

    assert start.own["gate lifted"] == pytest.approx(0.01)


def test_an_idle_slice_costs_an_event_and_a_gate() -> None:
    reached = {phase: at for phase, at in MERGE.items() if phase not in ("plan", "cut", "offered", "slice")}

    own = Start(kind=Kind.IDLE_SLICE, reached=reached | {"schedulable": 0.1}).own

    assert own == pytest.approx({"event sent": 0.02, "gate lifted": 0.02})


def test_of_a_plain_start_nothing_is_ours() -> None:
    start = Start(kind=Kind.PLAIN, reached=PLAIN)

    assert start.own == {}
    assert start.own_s == 0
    assert start.rest == pytest.approx(0)


def test_two_watches_in_the_wrong_order_make_no_negative_span() -> None:
    start = Start(kind=Kind.MERGE, reached=MERGE | {"slice": 0.22})

    assert start.own["status told"] == 0


# ---------------------------------------------------------------- figures


def test_the_95th_percentile_of_twenty_is_the_second_largest_and_the_50th_the_median() -> None:
    twenty = [float(number) for number in range(20, 0, -1)]

    assert quantile(twenty, 0.95) == 19
    assert quantile(twenty, 0.5) == 10.5
    assert quantile([3.0], 0.95) == 3.0


def test_figures_compare_medians_of_one_run() -> None:
    starts = {
        Kind.UNINSTALLED: [Start(kind=Kind.UNINSTALLED, reached={"first byte": 0.8})],
        Kind.PLAIN: [Start(kind=Kind.PLAIN, reached={"first byte": at}) for at in (0.7, 0.8, 2.0)],
        Kind.IDLE_SLICE: [Start(kind=Kind.IDLE_SLICE, reached={"first byte": 0.9})],
        Kind.MERGE: [Start(kind=Kind.MERGE, reached=MERGE)],
    }

    found = figures(starts)

    assert tuple(found) == coldstart.KEYS
    assert found == pytest.approx(
        {
            "plain_p50_s": 0.8,
            "idle_slice_p50_s": 0.9,
            "merge_p50_s": 1.0,
            "merge_p95_s": 1.0,
            "merge_over_plain": 1.25,
            "own_p50_ms": 210,
            "plain_over_uninstalled": 1.0,
        }
    )


def test_tables_have_a_column_a_kind_and_leave_out_phases_that_nobody_has() -> None:
    starts = {
        Kind.PLAIN: [Start(kind=Kind.PLAIN, reached=PLAIN)],
        Kind.MERGE: [Start(kind=Kind.MERGE, reached=MERGE)] * 2,
    }

    head, *rows = by_phase(starts)

    assert head == ("request to", "plain (1)", "merge (2)")
    assert ("plan", "", "100 / 100") in rows
    assert rows[-1] == ("first byte", "800 / 800", "1000 / 1000")
    spans = {name: cells for name, *cells in by_span(starts)}
    assert spans["our own time"] == ["", "210 / 210"]
    assert spans["its containers start"] == ["600 / 600", "620 / 620"]
    assert [name for name, *_ in by_phase({Kind.PLAIN: starts[Kind.PLAIN]})] == ["request to", *PLAIN]


def test_goals_are_judged_by_the_difference_of_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    starts = {kind: [Start(kind=kind, reached=PLAIN)] for kind in Kind} | {
        Kind.MERGE: [Start(kind=Kind.MERGE, reached=MERGE | {"first byte": 1.0})]
    }

    coldstart.report(starts)

    printed = capsys.readouterr().out
    goals = {line.split("  ")[1]: line for line in printed.splitlines() if line.rstrip().endswith(("met", "MISSED"))}
    assert "MISSED" in goals["our own time of a merge, p50, ms"]
    assert "0.2 " in goals["merge - plain, p50, s"]
    assert goals["merge / plain, p50"].rstrip().endswith("met")
