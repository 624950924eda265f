"""The floor's rule as stories: what is asked, what somebody edits, and what stands on the Revision afterwards."""

from dataclasses import dataclass, field, replace
from math import inf

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.floor.rule import Settled, assigned, live, next_expiry, room, settle
from knative_mig.core.floor.values import MANAGER, Record, Request, Revision, Setting

HOUR = 3600.0


def ask(value: float, name: str = "a", setting: Setting = Setting.MIN, **more: object) -> Request:
    fields = {"component": "prewarm", "namespace": "team", "revision": "llm-00001", "until": HOUR, "reason": "a rush"}
    return Request(**{**fields, "name": name, "value": value, "setting": setting, **more})  # type: ignore[arg-type]


@dataclass
class OneRevision:
    """Its values and their managers, as the API server keeps them; `crash` stores and does not write."""

    values: dict[Setting, str] = field(default_factory=dict)
    record: Record = field(default_factory=dict)
    desired: int | None = 0
    burst: str = "-1"
    writes: int = 0

    def __post_init__(self) -> None:
        self.owners = {setting: frozenset({"controller"}) for setting in self.values}

    @property
    def seen(self) -> Revision:
        return Revision(
            namespace="team",
            name="llm-00001",
            uid="uid-1",
            values=dict(self.values),
            owners=dict(self.owners),
            burst=self.burst,
            desired=self.desired,
        )

    def write(self, setting: Setting, value: str | None, manager: str) -> None:
        if value is None:
            self.values.pop(setting, None)
            self.owners.pop(setting, None)
        elif self.values.get(setting) != value:
            self.values[setting] = value
            self.owners[setting] = frozenset({manager})

    def edit(self, setting: Setting, value: str | None) -> None:
        self.write(setting, value, "kubectl-annotate")

    def settle(self, *requests: Request, crash: bool = False) -> Settled:
        settled = settle(self.seen, self.record, requests)
        self.record = settled.record
        if not crash:
            self.writes += bool(settled.write)
            for setting, value in settled.write.items():
                self.write(setting, value, MANAGER)
            self.record = settle(self.seen, self.record, requests).record
        return settled

    @property
    def floor(self) -> str | None:
        return self.values.get(Setting.MIN)


def test_the_greatest_of_the_users_value_and_the_requests_stands() -> None:
    revision = OneRevision({Setting.MIN: "1"})
    revision.settle(ask(2), ask(3, "b"))
    assert revision.floor == "3"
    revision.settle(ask(2))
    assert revision.floor == "2"


def test_what_the_template_said_is_restored_when_nobody_asks_any_more() -> None:
    for template in ({}, {Setting.MIN: "1"}, {Setting.MIN: "01"}):
        revision = OneRevision(dict(template))
        revision.settle(ask(3))
        revision.settle()
        assert (revision.values, revision.record) == (template, {})


def test_the_same_again_writes_nothing() -> None:
    revision = OneRevision()
    revision.settle(ask(2))
    assert not revision.settle(ask(2)).write
    assert revision.writes == 1


def test_a_request_below_the_users_value_is_not_written_and_not_remembered() -> None:
    revision = OneRevision({Setting.MIN: "5"})
    assert not revision.settle(ask(3)).write
    assert not revision.record


def test_what_has_run_out_is_no_request_any_more() -> None:
    early, late = ask(2, until=10.0), ask(3, "b", until=20.0)
    assert live([early, late], 9.9) == [early, late]
    assert live([early, late], 10.0) == [late]
    assert next_expiry([early, late], 10.0) == 20.0
    assert next_expiry([early], 10.0) == inf


def test_a_crash_between_the_record_and_the_write_loses_nothing() -> None:
    revision = OneRevision({Setting.MIN: "1"})
    revision.settle(ask(3), crash=True)
    assert revision.floor == "1"
    revision.settle(ask(3))
    assert revision.floor == "3"
    revision.settle(crash=True)
    assert revision.floor == "3"
    revision.settle()
    assert (revision.floor, revision.record) == ("1", {})


def test_a_crash_in_the_middle_of_a_second_change_does_not_take_our_own_value_for_the_users() -> None:
    revision = OneRevision()
    revision.settle(ask(2))
    revision.settle(ask(4), crash=True)
    revision.settle()
    assert revision.floor is None


class TestEdits:
    def test_win_over_the_requests_that_stood_and_are_not_fought(self) -> None:
        revision = OneRevision({Setting.MIN: "1"})
        revision.settle(ask(3))
        revision.edit(Setting.MIN, "2")
        for _ in range(3):
            revision.settle(ask(3))
        assert revision.floor == "2"
        assert revision.writes == 1

    def test_are_bounds_to_requests_that_come_later(self) -> None:
        revision = OneRevision()
        revision.settle(ask(3))
        revision.edit(Setting.MIN, "2")
        revision.settle(ask(3))
        revision.settle(ask(3), ask(4, "later"))
        assert revision.floor == "4"
        revision.settle(ask(3))
        assert revision.floor == "2"

    def test_are_what_is_restored(self) -> None:
        revision = OneRevision({Setting.MIN: "1"})
        revision.settle(ask(3))
        revision.edit(Setting.MIN, "2")
        revision.settle()
        assert (revision.floor, revision.record) == ("2", {})

    def test_back_to_what_it_was_are_edits_too(self) -> None:
        revision = OneRevision({Setting.MIN: "1"})
        revision.settle(ask(3))
        revision.edit(Setting.MIN, "1")
        revision.settle(ask(3))
        assert revision.floor == "1"

    def test_that_take_the_annotation_away_are_edits_too(self) -> None:
        revision = OneRevision()
        revision.settle(ask(3))
        revision.edit(Setting.MIN, None)
        revision.settle(ask(3))
        assert revision.floor is None

    def test_of_the_same_value_by_server_side_apply_make_it_the_users(self) -> None:
        revision = OneRevision({Setting.MIN: "1"})
        revision.settle(ask(3))
        revision.owners[Setting.MIN] |= {"argocd"}
        revision.settle()
        assert revision.floor == "3"

    def test_of_one_value_leave_the_others_to_the_floor(self) -> None:
        revision = OneRevision()
        revision.settle(ask(3), ask(5, "c", Setting.MAX))
        revision.edit(Setting.MAX, "9")
        revision.settle(ask(3), ask(5, "c", Setting.MAX))
        assert revision.values == {Setting.MIN: "3", Setting.MAX: "9"}


class TestTheUsersValuesAreBounds:
    def test_no_floor_above_the_users_max_scale(self) -> None:
        revision = OneRevision({Setting.MAX: "2"})
        settled = revision.settle(ask(5))
        assert revision.values == {Setting.MIN: "2", Setting.MAX: "2"}
        assert settled.reasons == ("min-scale is 2 instead of none: prewarm/a asks for 5 (a rush)",)

    def test_max_scale_zero_is_no_limit(self) -> None:
        revision = OneRevision({Setting.MAX: "0"})
        revision.settle(ask(5))
        assert revision.values == {Setting.MIN: "5", Setting.MAX: "0"}

    def test_the_lowest_ceiling_stands_but_none_below_the_users_min_scale(self) -> None:
        revision = OneRevision({Setting.MIN: "2", Setting.MAX: "8"})
        revision.settle(ask(4, "x", Setting.MAX), ask(6, "y", Setting.MAX))
        assert revision.values[Setting.MAX] == "4"
        revision.settle(ask(1, "x", Setting.MAX))
        assert revision.values == {Setting.MIN: "2", Setting.MAX: "2"}

    def test_a_floor_gives_way_to_a_ceiling_so_that_knative_takes_both(self) -> None:
        revision = OneRevision()
        revision.settle(ask(5), ask(3, "x", Setting.MAX))
        assert revision.values == {Setting.MIN: "3", Setting.MAX: "3"}

    def test_the_lowest_target_stands_and_none_above_the_users(self) -> None:
        revision = OneRevision({Setting.TARGET: "4"})
        revision.settle(ask(2.5, "x", Setting.TARGET), ask(9, "y", Setting.TARGET))
        assert revision.values[Setting.TARGET] == "2.5"
        revision.settle(ask(9, "y", Setting.TARGET))
        assert revision.values[Setting.TARGET] == "4"

    def test_where_they_make_no_sense_nothing_is_written(self) -> None:
        revision = OneRevision({Setting.MIN: "many"})
        assert not revision.settle(ask(5)).write

    def test_room_is_what_the_user_allows_whatever_the_floor_has_written(self) -> None:
        revision = OneRevision({Setting.MAX: "4"})
        revision.settle(ask(2, "x", Setting.MAX))
        assert revision.values[Setting.MAX] == "2"
        assert room(revision.seen, revision.record) == 4
        assert room(OneRevision().seen, {}) == inf
        with pytest.raises(BadInput, match="max-scale is 'few'"):
            room(OneRevision({Setting.MAX: "few"}).seen, {})


class TestAnAutoscalerThatDoesNotKnow:
    """Its desired scale is -1: after a restart, or before a function's first run."""

    def test_is_told_of_where_a_floor_has_no_effect(self) -> None:
        revision = OneRevision(desired=None, burst="200")
        assert "looks at no min-scale" in revision.settle(ask(1)).unheard

    @pytest.mark.parametrize(("desired", "burst", "value"), [(0, "200", 1), (None, "-1", 1), (None, "200", 0)])
    def test_is_not_where_it_knows_or_soon_will_or_nobody_raises_anything(
        self, desired: int | None, burst: str, value: int
    ) -> None:
        revision = OneRevision(desired=desired, burst=burst)
        assert not revision.settle(ask(value)).unheard


class TestWhoseRequestItIs:
    OLD = Revision(namespace="team", name="llm-00001", uid="uid-1", service="llm", generation=1)
    NEW = Revision(namespace="team", name="llm-00002", uid="uid-2", service="llm", generation=2, ready=False)

    def test_a_services_request_stays_with_the_old_revision_until_the_new_one_is_ready(self) -> None:
        request = ask(2, revision="", service="llm")
        assert assigned([request], [self.OLD, self.NEW]) == {"uid-1": [request]}
        assert assigned([request], [self.OLD, replace(self.NEW, ready=True)]) == {"uid-2": [request]}

    def test_a_new_revision_starts_from_its_template_and_the_old_one_is_restored(self) -> None:
        request = ask(2, revision="", service="llm")
        old = OneRevision({Setting.MIN: "1"})
        old.settle(request)
        mine = assigned([request], [self.OLD, replace(self.NEW, ready=True)])
        old.settle(*mine.get("uid-1", ()))
        assert (old.floor, old.record) == ("1", {})
        new = OneRevision()
        new.settle(*mine["uid-2"])
        assert new.floor == "2"

    def test_a_revisions_request_is_its_own_and_one_that_is_going_takes_none(self) -> None:
        request = ask(2)
        assert assigned([request], [self.OLD, self.NEW]) == {"uid-1": [request]}
        assert not assigned([request], [replace(self.OLD, ending=True)])
        assert not assigned([replace(request, namespace="other")], [self.OLD])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": "llm"}, "names both of function and service"),
        ({"revision": ""}, "names neither of function and service"),
        ({"value": 1.5}, "legal is a whole number"),
        ({"value": inf}, "legal is a whole number"),
        ({"value": -1}, "legal is 0 to"),
        ({"value": 0, "setting": Setting.MAX}, "legal is 1 to"),
        ({"value": 0, "setting": Setting.TARGET}, "legal is 0.01 to"),
    ],
)
def test_what_is_no_request_says_why(change: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ask(**{"value": 1, **change})  # type: ignore[arg-type]


def test_a_server_that_keeps_no_managed_fields_is_judged_by_the_value() -> None:
    revision = OneRevision({Setting.MIN: "1"})
    revision.settle(ask(3))
    stands = replace(revision.seen, owners=None)
    assert settle(stands, revision.record, []).write == {Setting.MIN: "1"}
    edited = replace(stands, values={Setting.MIN: "7"})
    assert not settle(edited, revision.record, []).write


class TestWithoutAPod:
    """So many pods are enough for a new Revision to be Ready; Knative takes the greater of initial and min-scale."""

    def test_the_users_min_scale_is_lowered_with_the_initial_scale_and_both_come_back(self) -> None:
        revision = OneRevision({Setting.MIN: "2", Setting.INITIAL: "3"})
        revision.settle(ask(0, setting=Setting.INITIAL))
        assert revision.values == {Setting.MIN: "0", Setting.INITIAL: "0"}
        revision.settle()
        assert revision.values == {Setting.MIN: "2", Setting.INITIAL: "3"}
        assert revision.record == {}

    def test_nothing_is_written_that_is_as_low_already(self) -> None:
        revision = OneRevision({Setting.INITIAL: "0"})
        assert not revision.settle(ask(0, setting=Setting.INITIAL)).write

    def test_and_it_takes_back_what_others_ask_meanwhile(self) -> None:
        revision = OneRevision()
        revision.settle(ask(3), ask(0, "b", Setting.INITIAL))
        assert revision.values == {Setting.INITIAL: "0"}
        revision.settle(ask(3))
        assert revision.values == {Setting.MIN: "3"}

    def test_it_is_no_floor_that_an_autoscaler_might_not_hear(self) -> None:
        revision = OneRevision({Setting.MIN: "2"}, desired=None, burst="0")
        assert not revision.settle(ask(0, setting=Setting.INITIAL)).unheard


class TestTheWindow:
    @pytest.mark.parametrize(
        ("users", "stands"),
        [
            (None, "6s"), ("1m30s", "6s"), ("1m", "6s"), ("0.5h", "6s"), ("6s", "6s"), ("6000ms", "6000ms"),
            ("a while", "a while"), ("", ""), ("1m s", "1m s"),
        ],
    )  # fmt: skip
    def test_is_never_longer_than_the_users_and_one_that_nobody_can_read_stays(
        self, users: str | None, stands: str
    ) -> None:
        template = {Setting.WINDOW: users} if users is not None else {}
        revision = OneRevision(dict(template))
        revision.settle(ask(6, setting=Setting.WINDOW))
        assert revision.values == {Setting.WINDOW: stands}
        revision.settle()
        assert revision.values == template

    def test_knative_takes_none_below_six_seconds(self) -> None:
        with pytest.raises(BadInput, match="legal is 6 to"):
            ask(5, setting=Setting.WINDOW)
