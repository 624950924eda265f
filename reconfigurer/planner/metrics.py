"""What the planner process counts, under the names that `docs/operations.md` lists.

Called by the loop. What follows from the cluster's state is level-triggered too: a pod that waits through a hundred
rounds is one rejection, counted when its reason is new. Meters are published by the leader alone, as they are stored.
"""

from collections import Counter as CountOf
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from knative_mig.core.cluster.meters import Meters
from knative_mig.core.floor.values import Request
from knative_mig.core.mover.values import Move

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class PlannerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"knative_mig_planner_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"knative_mig_planner_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"knative_mig_planner_{name}", text, buckets=_SECONDS, registry=registry)

        self.rounds = counter(
            "rounds_total",
            "Rounds of the planner's loop, by what became of them "
            "(planned, standby, blind, not-stamped, overtaken, failed).",
            "outcome",
        )
        self.plan = histogram("plan_seconds", "From the first look at the mirrors to a decision.")
        self.event_to_spec = histogram("event_to_spec_seconds", "From the change that woke a round to its last write.")
        self.steps = counter(
            "steps_total",
            "Slices granted to pods, by how (reuse, create, merge, wait, move, recreate); each pod's once.",
            "how",
        )
        self.rejections = counter("rejections_total", "Pods refused a slice, by reason; once a reason.", "reason")
        self.writes = counter("spec_writes_total", "Writes of GpuNode specs, by result.", "result")
        self.conditions = counter(
            "condition_writes_total", "Writes of the condition knative-mig.dev/Slice on pods, by result.", "result"
        )
        self.gates = counter("gates_lifted_total", "Scheduling gates lifted.")
        self.leader = gauge("leader", "1 while this replica leads.")
        self.token = gauge("fencing_token", "The token that this replica last led under.")
        self.waiting = gauge("waiting_pods", "Pods that wait for a slice, by whether one is found.", "found")
        self.left_out = gauge("left_out_nodes", "Nodes that are not planned on, by reason.", "reason")
        self.mirror_age = gauge("mirror_age_seconds", "Since the API server was last heard of, by mirror.", "mirror")
        self.events = counter(
            "events_total",
            "CloudEvents that came to this replica, by what became of them "
            "(woke, forwarded, not-forwarded, no-leader, duplicate, ignored, rejected).",
            "outcome",
        )
        self.outcomes = counter("outcomes_total", "Outcomes told on Revisions, by kind.", "kind")
        self.outcome_events = counter(
            "outcome_events_total",
            "Outcomes sent as CloudEvents, by what became of each try (taken, refused, failed, lost).",
            "outcome",
        )
        self.meters_lost = counter(
            "meters_lost_seconds_total", "Seconds that are in no meter: nobody led for long, or a clock was set."
        )
        self.meters = MeterCollector()
        registry.register(self.meters)

    def show_left_out(self, reasons: Mapping[str, int]) -> None:
        self.left_out.clear()
        for reason, count in reasons.items():
            self.left_out.labels(reason).set(count)


class FloorMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(f"knative_mig_floor_{name}_total", text, (label,), registry=registry)

        self.rounds = counter(
            "rounds",
            "Rounds of the floor, by what became of them (settled, wrote, standby, blind, overtaken, not-stored).",
            "outcome",
        )
        self.writes = counter("writes", "Writes of autoscaling values on Revisions, by result.", "result")
        self.requests = Gauge(
            "knative_mig_floor_requests", "Requests that count now, by component.", ("component",), registry=registry
        )

    def show_requests(self, requests: Iterable[Request]) -> None:
        self.requests.clear()
        for component, many in CountOf(each.component for each in requests).items():
            self.requests.labels(component).set(many)


class MoverMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.begun = Counter("knative_mig_moves_begun_total", "Moves begun.", registry=registry)
        self.over = Counter(
            "knative_mig_moves_total",
            "Moves that are over, by how (moved, recreated, abandoned).",
            ("outcome",),
            registry=registry,
        )
        self.evictions = Counter(
            "knative_mig_move_evictions_total",
            "Pods evicted because their function's own demand kept all of its pods.",
            registry=registry,
        )
        self.hand_overs = Counter(
            "knative_mig_move_hand_overs_total",
            "Old pods whose relays were asked to hand their generations over, by what came of it "
            "(done, failed, no-relay).",
            ("outcome",),
            registry=registry,
        )
        self.generations = Counter(
            "knative_mig_move_generations_total",
            "Generations that such pods had under way (moved, stayed).",
            ("outcome",),
            registry=registry,
        )
        self.under_way = Gauge("knative_mig_moves_under_way", "Moves by phase.", ("phase",), registry=registry)

    def show(self, moves: Iterable[Move]) -> None:
        self.under_way.clear()
        for phase, many in CountOf(str(each.phase) for each in moves).items():
            self.under_way.labels(phase).set(many)


class MeterCollector(Collector):
    def __init__(self) -> None:
        self._meters: Meters | None = None

    def show(self, meters: Meters | None) -> None:
        """None: this replica does not lead, and what it once counted is another's to publish."""
        self._meters = meters

    def collect(self) -> Iterable[CounterMetricFamily]:
        meters = self._meters
        if meters is None:
            return
        shares = CounterMetricFamily(
            "knative_mig_slice_share_seconds",
            "Seconds times the slice's share of its GPU's memory units, by who held it and its state.",
            labels=("namespace", "service", "profile", "state"),
        )
        for whose, seconds in meters.share_seconds.items():
            shares.add_metric((whose.namespace, whose.service, whose.profile, whose.state), seconds)
        yield shares
        for name, text, by_profile in (
            (
                "fragmented",
                "Seconds that requests without a place waited beside a free or idle share.",
                meters.fragmented_s,
            ),
            ("blocked", "Likewise, where the shares together were as big as what they need.", meters.blocked_s),
        ):
            family = CounterMetricFamily(f"knative_mig_{name}_wait_seconds", text, labels=("profile",))
            for profile, seconds in by_profile.items():
                family.add_metric((profile,), seconds)
            yield family
