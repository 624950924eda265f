"""On a static node another plugin names slices by their MIG UUIDs; behind the kubelet they have our ids."""

from knative_mig.core.agent.readings import DeviceId, KubeletView
from knative_mig.core.agent.static_layout import in_our_ids
from tests.rigs.agent_worlds import holder, reading, view

READINGS = [reading("A", "3g.20gb@4 as MIG-1", "1g.5gb@0 as MIG-2"), reading("B", "3g.20gb@4 as MIG-3")]


def test_holders_and_devices_are_found_by_their_uuids() -> None:
    theirs = KubeletView(
        holders={DeviceId("MIG-1"): (holder("d/chat"),)}, allocatable=frozenset({DeviceId("MIG-1"), DeviceId("MIG-3")})
    )
    ours = in_our_ids(theirs, READINGS)
    assert ours.holders == view("A", "3g.20gb@4 by d/chat").holders
    assert ours.allocatable == {"A/3g.20gb/4", "B/3g.20gb/4"}


def test_what_no_reading_shows_is_left_out_and_our_own_ids_stay() -> None:
    mixed = KubeletView(
        holders={DeviceId("MIG-gone"): (holder("d/x"),)}, allocatable=frozenset({DeviceId("0"), DeviceId("A/1g.5gb/0")})
    )
    assert in_our_ids(mixed, READINGS) == KubeletView(allocatable=frozenset({DeviceId("A/1g.5gb/0")}))
