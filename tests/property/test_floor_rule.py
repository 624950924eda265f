"""The floor through any order of requests, edits by others and crashes: what must hold of the value that stands.

A crash leaves the record stored and the value not written, or the value written and the record not confirmed. What a
person wrote last is the truth that is restored; a fight about it would be seen as a second write.
"""

from hypothesis import assume, given
from hypothesis import strategies as st

from knative_mig.core.floor.rule import live, settle
from knative_mig.core.floor.values import MANAGER, Record, Request, Revision, Setting

NAMES = st.sampled_from(["a", "b", "c"])
happenings = st.one_of(
    st.tuples(st.just("ask"), NAMES, st.integers(0, 6), st.integers(1, 8)),
    st.tuples(st.just("withdraw"), NAMES),
    st.tuples(st.just("edit"), st.one_of(st.none(), st.integers(0, 6).map(str))),
    st.tuples(st.just("round")),
    st.tuples(st.just("stored, not written")),
    st.tuples(st.just("written, not confirmed")),
    st.tuples(st.just("time passes")),
)


class Story:
    def __init__(self, template: str | None) -> None:
        self.users = self.stands = template
        self.owner: str | None = "controller" if template else None
        self.record: Record = {}
        self.requests: dict[str, Request] = {}
        self.now = 0

    def revision(self) -> Revision:
        values = {} if self.stands is None else {Setting.MIN: self.stands}
        owners = {} if self.owner is None else {Setting.MIN: frozenset({self.owner})}
        return Revision(namespace="team", name="r", uid="u", values=values, owners=owners)

    def live(self) -> list[Request]:
        return live(self.requests.values(), self.now)

    def round(self, *, write: bool = True, confirm: bool = True) -> None:
        settled = settle(self.revision(), self.record, self.live())
        self.record = settled.record
        if not write:
            return
        if settled.write:
            self.write(settled.write[Setting.MIN], MANAGER)
        if confirm:
            again = settle(self.revision(), self.record, self.live())
            assert not again.write, "the same twice is written twice"
            self.record = again.record

    def write(self, value: str | None, manager: str) -> None:
        if value != self.stands:
            self.stands, self.owner = value, manager if value is not None else None

    def happen(self, what: tuple[object, ...]) -> None:
        match what:
            case ("ask", str(name), int(value), int(lasts)):
                self.requests[name] = Request(
                    component="c",
                    name=name,
                    namespace="team",
                    revision="r",
                    value=value,
                    until=self.now + lasts,
                    reason="",
                )
            case ("withdraw", str(name)):
                self.requests.pop(name, None)
            case ("edit", value):
                assert value is None or isinstance(value, str)
                if value == self.stands:
                    return  # the API server sees no edit in it either
                self.users = value
                self.write(value, "kubectl")
            case ("round",):
                self.round()
            case ("stored, not written",):
                self.round(write=False)
            case ("written, not confirmed",):
                self.round(confirm=False)
            case ("time passes",):
                self.now += 1


@given(st.one_of(st.none(), st.integers(0, 6).map(str)), st.lists(happenings, max_size=40))
def test_nothing_is_left_behind_and_the_value_is_never_below_the_users(
    template: str | None, story: list[tuple[object, ...]]
) -> None:
    world = Story(template)
    for what in story:
        world.happen(what)
        if what[0] == "round":
            assert int(world.stands or 0) >= int(world.users or 0)
            assert int(world.stands or 0) <= max(int(world.users or 0), *(int(each.value) for each in world.live()), 0)
    world.now += 100  # nobody renews anything: all components may be dead
    world.round()
    assert (world.stands, world.record) == (world.users, {})


@given(st.lists(happenings, max_size=25), st.integers(1, 6), st.integers(0, 6))
def test_who_edits_last_is_not_written_over_while_the_same_requests_stand(
    story: list[tuple[object, ...]], asked: int, edited: int
) -> None:
    world = Story("0")
    for what in story:
        world.happen(what)
    world.requests = {}
    world.happen(("ask", "a", asked, 1_000))
    world.round()
    assume(world.stands != world.users)
    world.happen(("edit", str(edited)))
    stood = world.stands
    for _ in range(3):
        world.round()
        assert world.stands == stood
