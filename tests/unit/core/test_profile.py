import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.profile import RESOURCE_SUFFIX, Attribute, ProfileName

EVERY_PROFILE = [
    pytest.param(model, profile, id=f"{model}/{profile}") for model in GPU_MODELS for profile in model.profiles
]
SPELLINGS = [
    ("3g.20gb", "nvidia.com/mig-3g.20gb", ProfileName(3, 20)),
    ("1g.5gb+me", "nvidia.com/mig-1g.5gb.me", ProfileName(1, 5, Attribute.MEDIA)),
    ("2g.48gb+me.all", "nvidia.com/mig-2g.48gb.me.all", ProfileName(2, 48, Attribute.ALL_MEDIA)),
    ("4g.96gb+gfx", "nvidia.com/mig-4g.96gb.gfx", ProfileName(4, 96, Attribute.GRAPHICS)),
    ("1g.24gb-me", "nvidia.com/mig-1g.24gb-me", ProfileName(1, 24, Attribute.NO_MEDIA)),
    ("7g.269gb", "nvidia.com/mig-7g.269gb", ProfileName(7, 269)),
    ("12g.1024gb", "nvidia.com/mig-12g.1024gb", ProfileName(12, 1024)),
]
NO_NAMES = {
    "empty": "",
    "no memory": "3g",
    "no unit": "3g.20",
    "no compute": ".20gb",
    "zero compute": "0g.20gb",
    "zero memory": "3g.0gb",
    "leading zero": "03g.20gb",
    "memory with a leading zero": "3g.020gb",
    "capitals": "3G.20GB",
    "a space before": " 3g.20gb",
    "a line end after": "3g.20gb\n",
    "digits of another script": "3g.\u0662\u0660gb",
    "negative": "-3g.20gb",
    "a fraction": "3g.20.5gb",
    "absurdly big": "3g.99999gb",
    "compute of three digits": "100g.20gb",
    "an unknown attribute": "3g.20gb+ai",
    "a repeated attribute": "1g.5gb+me+me",
    "only the sign": "1g.5gb+",
    "the resource's suffix": "1g.5gb.me",
    "the resource": "nvidia.com/mig-3g.20gb",
}
NO_RESOURCES = {
    "empty": "",
    "only the prefix": "nvidia.com/mig-",
    "no prefix": "3g.20gb",
    "another vendor": "amd.com/mig-3g.20gb",
    "the whole gpu": "nvidia.com/gpu",
    "a plus": "nvidia.com/mig-1g.5gb+me",
    "an unknown suffix": "nvidia.com/mig-1g.5gb.ai",
    "no-media written with a dot": "nvidia.com/mig-1g.24gb.-me",
    "the prefix twice": "nvidia.com/mig-nvidia.com/mig-3g.20gb",
}


@pytest.mark.parametrize(("name", "resource", "parsed"), SPELLINGS, ids=[name for name, _, _ in SPELLINGS])
def test_a_name_and_its_resource_are_the_same_profile(name: str, resource: str, parsed: ProfileName) -> None:
    assert ProfileName.parse(name) == ProfileName.from_resource(resource) == parsed
    assert (str(parsed), parsed.resource) == (name, resource)


def test_the_spellings_above_show_every_attribute() -> None:
    assert {parsed.attribute for _, _, parsed in SPELLINGS} == {*Attribute} == {*RESOURCE_SUFFIX}


@pytest.mark.parametrize(("model", "profile"), EVERY_PROFILE)
def test_every_known_profile_goes_to_its_resource_and_back(model: GpuModel, profile: Profile) -> None:
    assert ProfileName.parse(str(profile)) == profile.name
    assert ProfileName.from_resource(profile.name.resource) == profile.name


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_no_two_profiles_of_a_model_share_a_resource_and_kubernetes_allows_each(model: GpuModel) -> None:
    resources = [profile.name.resource for profile in model.profiles]
    assert len(set(resources)) == len(resources)
    for resource in resources:
        prefix, _, short = resource.partition("/")
        assert prefix == "nvidia.com"
        assert short.replace("-", "").replace(".", "").isalnum()
        assert len(short) <= 63


@pytest.mark.parametrize("text", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_what_is_no_profile_is_refused_in_one_line_that_shows_a_legal_one(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        ProfileName.parse(text)
    assert str(refused.value) == (
        f"{text!r} is not a MIG profile: a profile is written like 3g.20gb, 1g.5gb+me, 1g.24gb+me.all, 1g.24gb+gfx "
        "or 1g.24gb-me"
    )


@pytest.mark.parametrize("resource", NO_RESOURCES.values(), ids=NO_RESOURCES.keys())
def test_what_is_no_mig_resource_is_refused(resource: str) -> None:
    with pytest.raises(BadInput, match="is not a MIG"):
        ProfileName.from_resource(resource)


def test_a_resource_without_the_prefix_is_told_how_one_is_written() -> None:
    with pytest.raises(BadInput) as refused:
        ProfileName.from_resource("nvidia.com/gpu")
    assert str(refused.value) == "'nvidia.com/gpu' is not a MIG resource: it is written like nvidia.com/mig-3g.20gb"


def test_names_are_in_the_order_of_compute_then_memory() -> None:
    names = [ProfileName.parse(text) for text in ("7g.40gb", "1g.10gb", "3g.20gb", "1g.5gb", "2g.10gb")]
    assert [str(name) for name in sorted(names)] == ["1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "7g.40gb"]
