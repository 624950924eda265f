"""Whatever revisions want, whatever the sink answers and however late: each state is told, in turn, and never twice."""

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from knative_mig.core.events import Delivered, Delivery
from knative_mig.core.inventory import Function
from knative_mig.core.pending.asks import Ask, Asks
from knative_mig.core.pending.demand import Cause, Demand
from knative_mig.core.pending.event import id_of
from knative_mig.core.profile import ProfileName

FUNCTIONS = [Function("team", name) for name in ("a", "b", "c")]
PROFILE = ProfileName.parse("1g.5gb")
TAKEN = Delivery(outcome=Delivered.TAKEN)


class TheSource(RuleBasedStateMachine):
    flying = Bundle("flying")

    def __init__(self) -> None:
        super().__init__()
        self.asks = Asks()
        self.now = 0.0
        self.noted = count(1)  # the API server's times
        self.since = dict.fromkeys(FUNCTIONS, 0.0)
        self.wanted: dict[Function, Demand] = {}
        self.on_their_way: list[Ask] = []
        self.taken: Counter[tuple[Function, str]] = Counter()
        self.told: dict[Function, Demand | None] = {}  # the last that was taken or refused, while that still counts

    @rule(
        function=st.sampled_from(FUNCTIONS),
        number=st.integers(0, 3),
        generation=st.integers(1, 2),
        noted=st.booleans(),
        quota=st.booleans(),
    )
    def a_revision_changes(self, function: Function, number: int, generation: int, *, noted: bool, quota: bool) -> None:
        if noted:
            self.since[function] = float(next(self.noted))
        demand = None
        if number:
            demand = Demand(
                function=function,
                uid=f"uid-{function.name}",
                generation=generation,
                profile=PROFILE,
                count=number,
                cause=Cause.QUOTA_EXCEEDED if quota else Cause.NO_SLICE,
                why="",
                since=self.since[function],
            )
        before = self.wanted.pop(function, None)
        if demand is not None:
            still = before is not None and demand.is_still(before)
            self.wanted[function] = before if still and before is not None else demand
            if not still:
                self.told.pop(function, None)
        else:
            self.told.pop(function, None)
        self.asks.see(function, demand, self.now)

    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=flying)
    def a_sender_asks_for_the_next(self) -> Ask | None:
        ask = self.asks.next(self.now)
        if ask is not None:
            assert all(other.demand.function != ask.demand.function for other in self.on_their_way)
            assert self.wanted[ask.demand.function] is ask.demand, "what is sent holds now"
            self.on_their_way.append(ask)
        return ask

    @rule(ask=consumes(flying), outcome=st.sampled_from(Delivered))
    def the_sink_answers(self, ask: Ask | None, outcome: Delivered) -> None:
        if ask is None:
            return
        self.on_their_way.remove(ask)
        self._note(ask, outcome)
        self.asks.answered(ask, Delivery(outcome=outcome), self.now)

    def _note(self, ask: Ask, outcome: Delivered) -> None:
        function = ask.demand.function
        if outcome is Delivered.TAKEN:
            self.taken[function, id_of(ask)] += 1
        if outcome is not Delivered.FAILED and self.wanted.get(function) is ask.demand:
            self.told[function] = ask.demand

    @precondition(lambda self: not self.on_their_way)
    @rule()
    def in_the_end_all_that_is_wanted_has_been_told(self) -> None:
        """A sink that takes all, and ten seconds: the longest pause of one that did not, and of less of the same."""
        ends = self.now + 10.0
        while (wait_s := self.asks.wait_s(self.now)) is not None and self.now + wait_s <= ends:
            self.now += wait_s
            ask = self.asks.next(self.now)
            if ask is not None:
                self._note(ask, Delivered.TAKEN)
                self.asks.answered(ask, TAKEN, self.now)
        self.now = ends
        assert self.told.keys() == self.wanted.keys()

    @invariant()
    def an_id_is_taken_once(self) -> None:
        assert all(times == 1 for times in self.taken.values())

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert self.asks.queued <= 2 * len(self.wanted) + 65
        assert len(self.asks) == len(self.wanted)


TestTheSource = TheSource.TestCase
TestTheSource.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
