"""Places, masks, and the names by which drivers and boards call the same profile."""

import pytest

from knative_mig.core.errors import BadInput, UnknownProfile
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.profile import Attribute, ProfileName
from tests.rigs.every_layout import every_layout

A100 = gpu_model("A100-40GB")
RTX = gpu_model("RTX-PRO-6000-BLACKWELL-96GB")
OTHER_NAMES = [
    ("A100-80GB", "3g.39gb", "3g.40gb"),
    ("A100-80GB", "7g.79gb", "7g.80gb"),
    ("GB200-186GB", "1g.24gb", "1g.23gb"),
    ("GB200-189GB", "1g.23gb", "1g.24gb"),
    ("GB200-189GB", "1g.23gb+me", "1g.24gb+me"),
    ("H100-94GB", "3g.48gb", "3g.47gb"),
    ("A100-40GB", "3g.20gb", "3g.20gb"),
    ("A100-80GB", "1g.10gb", "1g.10gb"),
    ("A100-80GB", "1g.20gb", "1g.20gb"),
]
NOT_THAT_MODELS = [
    ("A30-24GB", "1g.5gb"),
    ("A100-40GB", "1g.6gb"),
    ("A100-40GB", "3g.40gb"),
    ("A100-80GB", "3g.20gb"),
    ("A100-80GB", "1g.5gb"),
    ("A30-24GB", "3g.24gb"),
    ("A30-24GB", "4g.20gb"),
    ("A100-40GB", "1g.5gb+gfx"),
    ("A100-40GB", "3g.20gb+me"),
    ("GB200-186GB", "1g.24gb-me"),
    ("A100-40GB", "2g.20gb"),
    ("A100-80GB", "1g.19gb+me"),
]


def place(model: GpuModel, name: str, start: int) -> Place:
    return model.place(model.profile(ProfileName.parse(name)), start)


@pytest.mark.parametrize(("model", "asked", "its_own"), OTHER_NAMES, ids=lambda value: value)
def test_another_drivers_name_is_resolved(model: str, asked: str, its_own: str) -> None:
    assert str(gpu_model(model).resolve(ProfileName.parse(asked))) == its_own


@pytest.mark.parametrize(("model", "asked"), NOT_THAT_MODELS, ids=lambda value: value)
def test_a_name_of_another_size_or_attribute_is_never_resolved(model: str, asked: str) -> None:
    assert gpu_model(model).resolve(ProfileName.parse(asked)) is None


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_each_model_resolves_its_own_names_to_themselves_and_no_two_could_be_meant(model: GpuModel) -> None:
    for profile in model.profiles:
        assert model.resolve(profile.name) is profile
        for gigabytes in range(1, 400):
            near = model.resolve(ProfileName(profile.compute, gigabytes, profile.name.attribute))
            assert near is None or abs(near.name.memory_gb - gigabytes) <= 0.045 * near.name.memory_gb


def test_a_name_between_two_profiles_is_nobodys() -> None:
    """On a made-up part whose 1g sizes lie so near that a driver's rounding could mean either."""
    close = GpuModel.from_rows(
        "close", 7, 8, ("1g.100gb", 1, (0,), 1, 0, 0, 0, 1), ("1g.104gb", 2, (0,), 1, 0, 0, 1, 2)
    )
    assert close.resolve(ProfileName(1, 102)) is None
    assert str(close.resolve(ProfileName(1, 97))) == "1g.100gb"


def test_the_same_name_is_another_size_on_another_model() -> None:
    name = ProfileName.parse("1g.10gb")
    small, big = gpu_model("A100-40GB").profile(name), gpu_model("A100-80GB").profile(name)
    assert (small.memory_units, small.starts) == (2, (0, 2, 4, 6))
    assert (big.memory_units, big.starts) == (1, (0, 1, 2, 3, 4, 5, 6))
    assert small != big


def test_an_unknown_profile_is_told_what_there_is_and_what_it_may_have_meant() -> None:
    with pytest.raises(UnknownProfile) as refused:
        gpu_model("A100-80GB").profile(ProfileName.parse("3g.39gb"))
    assert str(refused.value) == (
        "3g.39gb is not a profile of A100-80GB (another driver's name of 3g.40gb): "
        "it has 1g.10gb, 1g.10gb+me, 1g.20gb, 2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb"
    )
    with pytest.raises(UnknownProfile, match=r"^3g.24gb is not a profile of A30-24GB: it has 1g.6gb, 1g.6gb\+me"):
        gpu_model("A30-24GB").profile(ProfileName.parse("3g.24gb"))


def test_an_illegal_start_is_told_the_legal_ones() -> None:
    with pytest.raises(BadInput) as refused:
        place(A100, "2g.10gb", 6)
    assert str(refused.value) == "2g.10gb cannot start at 6 on A100-40GB: legal starts are 0, 2, 4"


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_places_are_numbered_in_order_and_cover_the_units_they_say(model: GpuModel) -> None:
    assert [each.index for each in model.places] == list(range(len(model.places)))
    for each in model.places:
        units = {unit for unit in range(model.memory_units) if each.mask & 1 << unit}
        assert units == set(range(each.start, each.end))
        assert each in model.places_of(each.profile)
        assert model.places_named(each.profile.name) == model.places_of(each.profile)


def test_a_model_has_no_places_of_a_profile_that_is_not_its_own() -> None:
    assert A100.places_named(ProfileName.parse("1g.6gb")) == ()
    assert not A100.has(ProfileName.parse("1g.6gb"))
    assert A100.has(ProfileName.parse("1g.5gb+me"))


def test_three_3g_slots_are_refused_by_the_ninth_memory_unit() -> None:
    """3g + 3g + 1g are seven compute slices, all that an A100 has; the sum alone would allow them."""
    halves = place(A100, "3g.20gb", 0).mask | place(A100, "3g.20gb", 4).mask
    assert all(halves & each.mask for each in A100.places_named(ProfileName.parse("1g.5gb")))


def test_one_slice_of_a_gpu_has_the_media_extension_wherever_the_two_stand() -> None:
    assert place(A100, "1g.5gb+me", 0).mask & place(A100, "1g.5gb+me", 6).mask
    assert not place(A100, "1g.5gb+me", 0).mask & place(A100, "1g.5gb", 6).mask


def test_all_media_engines_leave_room_only_for_slices_without_media() -> None:
    greedy = place(RTX, "1g.24gb+me.all", 0)
    beside = {str(each.profile) for each in RTX.places if not each.mask & greedy.mask}
    assert beside == {"1g.24gb-me", "2g.48gb-me"}


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_memory_of_any_two_places_nests_or_is_apart(model: GpuModel) -> None:
    """What the planner's search for two moves stands on; the media bits above the memory do not nest."""
    for one in model.places:
        for other in model.places:
            both = one.mask & other.mask & model.memory_mask
            assert both in (0, one.mask & model.memory_mask, other.mask & model.memory_mask)


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_starts_of_one_profile_never_overlap_in_part(model: GpuModel) -> None:
    for profile in model.profiles:
        for one in model.places_of(profile):
            for other in model.places_of(profile):
                assert one is other or not one.mask & other.mask & model.memory_mask


def test_a_place_is_its_profile_and_start_and_prints_as_such() -> None:
    here, same = place(A100, "3g.20gb", 4), place(gpu_model("NVIDIA A100-SXM4-40GB"), "3g.20gb", 4)
    assert here == same
    assert len({here, same, place(A100, "3g.20gb", 0)}) == 2
    assert f"{here} {here!r} {A100}" == "3g.20gb@4 3g.20gb@4 A100-40GB"
    assert here.end == 8


def test_models_with_equal_rows_are_still_two_models() -> None:
    assert GpuModel.from_rows("x", 1, 1) != GpuModel.from_rows("x", 1, 1)


def test_media_is_divided_only_where_a_profile_can_take_it_all() -> None:
    has_all_media = {
        str(model) for model in GPU_MODELS if any(p.name.attribute is Attribute.ALL_MEDIA for p in model.profiles)
    }
    wide = {
        str(model)
        for model in GPU_MODELS
        if any(
            p.mask >> model.memory_units & model.memory_mask
            for p in model.places
            if p.profile.name.attribute is Attribute.PLAIN
        )
    }
    assert has_all_media == wide == {str(RTX)}
    assert len(list(every_layout(RTX, [RTX.profile(ProfileName.parse("1g.24gb+me.all"))]))) == 5
