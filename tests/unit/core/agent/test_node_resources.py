"""What a Node offers follows what its kubelet believes, neither earlier nor later."""

from knative_mig.core.agent.node_resources import SliceCounts, believed_counts, changes_the_offer, next_write
from knative_mig.core.agent.readings import Device, KubeletView, device_id
from knative_mig.core.profile import ProfileName
from tests.rigs.agent_worlds import profile, slice_id, view

BIG, SMALL = profile("3g.20gb"), profile("1g.5gb")


def served(**healthy: bool) -> dict[ProfileName, tuple[Device, ...]]:
    """`a0=True`: the small slice of GPU a at 0, healthy."""
    devices = [
        Device(id=device_id(slice_id(name[0], f"1g.5gb@{name[1:]}")), healthy=well) for name, well in healthy.items()
    ]
    return {SMALL: tuple(devices), BIG: ()}


def test_a_new_device_is_not_offered_before_the_kubelet_shows_it() -> None:
    empty = SliceCounts(capacity={SMALL: 0, BIG: 0}, allocatable={SMALL: 0, BIG: 0})
    assert next_write(believed_counts(served(a0=True), KubeletView()), empty) is None
    write = next_write(believed_counts(served(a0=True), view("a", "1g.5gb@0")), empty)
    assert write == SliceCounts(capacity={SMALL: 1}, allocatable={SMALL: 1})


def test_a_withdrawn_device_is_offered_until_the_kubelet_lets_it_go() -> None:
    full = SliceCounts(capacity={SMALL: 1, BIG: 0}, allocatable={SMALL: 1, BIG: 0})
    assert next_write(believed_counts(served(a0=False), view("a", "1g.5gb@0")), full) is None
    write = next_write(believed_counts(served(a0=False), KubeletView()), full)
    assert write == SliceCounts(capacity={SMALL: 1}, allocatable={SMALL: 0})  # it is there, and not to be had


def test_a_profile_without_slices_is_written_as_0_so_that_the_scheduler_knows_its_name() -> None:
    write = next_write(believed_counts(served(), KubeletView()), SliceCounts())
    assert write == SliceCounts(capacity={SMALL: 0, BIG: 0}, allocatable={SMALL: 0, BIG: 0})


def test_what_the_kubelet_wrote_back_is_written_again() -> None:
    believed, devices = view("a", "1g.5gb@0"), served(a0=True)
    first = next_write(believed_counts(devices, believed), SliceCounts())
    assert first is not None
    assert next_write(believed_counts(devices, believed), first) is None
    overwritten = SliceCounts(capacity=first.capacity, allocatable={SMALL: 0, BIG: 0})
    assert next_write(believed_counts(devices, believed), overwritten) == SliceCounts(
        capacity={SMALL: 1}, allocatable={SMALL: 1}
    )


def test_a_device_that_is_no_longer_served_counts_until_the_kubelet_drops_it() -> None:
    assert believed_counts({SMALL: ()}, view("a", "1g.5gb@0", "3g.20gb@4")).allocatable == {SMALL: 1, BIG: 1}


def test_the_devices_of_two_gpus_are_added() -> None:
    both = KubeletView(allocatable=view("a", "1g.5gb@0").allocatable | view("b", "1g.5gb@0").allocatable)
    counts = believed_counts(served(a0=True, b0=True, b1=False), both)
    assert (counts.allocatable[SMALL], counts.capacity[SMALL]) == (2, 3)


def test_only_what_can_be_had_matters_to_a_scheduler() -> None:
    says = SliceCounts(capacity={SMALL: 2, BIG: 0}, allocatable={SMALL: 1, BIG: 0})
    assert not changes_the_offer(SliceCounts(capacity={SMALL: 1}, allocatable={SMALL: 1}), says)
    assert changes_the_offer(SliceCounts(capacity={SMALL: 2}, allocatable={SMALL: 2}), says)
    assert changes_the_offer(SliceCounts(capacity={SMALL: 2}, allocatable={SMALL: 0}), says)
    assert changes_the_offer(SliceCounts(capacity={SMALL: 0}, allocatable={SMALL: 0}), SliceCounts())
