"""Which events a Trigger wants."""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.adapters.kube.fields import Fields
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.filters import filter_of, wants

EVENT = Event(
    source="/shop",
    id="7",
    type="order.paid",
    time="2026-01-31T12:00:00+00:00",
    extensions={"tier": "gold", "empty": ""},
    content_type="application/json; charset=utf-8",
)


def is_wanted(spec: dict[str, Any]) -> bool:
    return wants(filter_of(Fields(spec)), EVENT)


def exact(**attributes: str) -> dict[str, Any]:
    return {"exact": attributes}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, True),
        ({"type": "order.paid", "tier": "gold"}, True),
        ({"type": "order.paid", "tier": "lead"}, False),
        ({"type": "order"}, False),
        ({"tier": ""}, True),  # any
        ({"empty": ""}, False),  # it has to say something
        ({"subject": ""}, False),
        ({"unheard": ""}, False),
        ({"time": "2026-01-31T12:00:00Z", "specversion": "1.0", "datamediatype": "application/json"}, True),
    ],
)
def test_all_attributes_have_to_fit(attributes: dict[str, str], *, expected: bool) -> None:
    assert is_wanted({"filter": {"attributes": attributes}}) is expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([exact(type="order.paid")], True),
        ([{"prefix": {"type": "order."}}, {"suffix": {"source": "shop"}}], True),
        ([{"prefix": {"type": "order."}}, {"suffix": {"source": "shops"}}], False),
        ([{"any": [exact(type="other"), exact(tier="gold")]}], True),
        ([{"any": [exact(type="other"), exact(unheard="x")]}], False),
        ([{"all": [exact(type="order.paid"), exact(tier="lead")]}], False),
        ([{"not": exact(tier="lead")}], True),
        ([{"not": exact(tier="gold")}], False),
        ([{"not": exact(unheard="x")}], True),
        ([{"not": {"not": exact(tier="gold")}}], True),
        ([{"not": {}}], True),  # it says nothing
        ([{}, exact(tier="lead")], False),  # what says nothing is passed over, the rest is not
    ],
)
def test_the_dialects_are_put_together_as_they_say(filters: list[dict[str, Any]], *, expected: bool) -> None:
    assert is_wanted({"filters": filters}) is expected


def test_where_there_are_new_filters_the_old_one_does_not_count() -> None:
    assert is_wanted({"filters": [exact(tier="gold")], "filter": {"attributes": {"tier": "lead"}}})


def test_an_event_says_of_which_version_it_is() -> None:
    wanted = filter_of(Fields({"filters": [exact(specversion="0.3")]}))
    assert wants(wanted, replace(EVENT, specversion="0.3"))
    assert not wants(wanted, EVENT)
