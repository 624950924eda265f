"""The generated tables say what their JSON says, and the geometry makes of them the layouts that the JSON counts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from knative_mig.core.errors import UnknownModel
from knative_mig.core.geometry import GpuModel, Place, Profile
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.profile import Attribute
from tests.rigs.every_layout import counts_of, every_layout, is_maximal

DATA: Final = Path(__file__).parents[2] / "data"
TABLES: Final = json.loads((DATA / "mig_tables.json").read_text())
GEOMETRIES: Final = TABLES["geometries"]

Cut = tuple[str, str | None, int, int]  # name, attribute, start, end


def every_profile(model: GpuModel) -> list[Profile]:
    return list(model.profiles)


def plain(model: GpuModel) -> list[Profile]:
    return [profile for profile in model.profiles if profile.name.attribute is Attribute.PLAIN]


def plain_without_double_memory(model: GpuModel) -> list[Profile]:
    """Of each compute size the profile with the least memory: the figure in NVIDIA's guide."""
    return [
        one
        for one in plain(model)
        if not any(other.compute == one.compute and other.memory_units < one.memory_units for other in plain(model))
    ]


SUBSETS: Final[dict[str, Callable[[GpuModel], list[Profile]]]] = {
    "plain_no_double_memory": plain_without_double_memory,
    "plain": plain,
    "with_all_attributes": every_profile,
}
COUNTED: Final = [
    pytest.param(gpu["model"], subset, id=f"{gpu['model']}-{subset}") for gpu in TABLES["gpus"] for subset in SUBSETS
]


def multiset(layout: tuple[Place, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((str(profile), count) for profile, count in counts_of(layout).items())


def test_the_generated_module_is_what_the_json_says() -> None:
    ran = subprocess.run([sys.executable, DATA / "generate_mig_tables.py", "--check"], check=False, capture_output=True)
    assert ran.returncode == 0, "run tests/data/generate_mig_tables.py and commit knative_mig/core/mig_tables.py"


@pytest.mark.parametrize("row", TABLES["gpus"], ids=lambda row: row["model"])
def test_a_model_has_the_profiles_and_starts_of_its_row(row: dict[str, Any]) -> None:
    model = gpu_model(row["model"])
    assert (model.compute_slices, model.memory_units) == (row["compute_slices"], row["memory_units"])
    assert [(str(each), list(each.starts), each.max_instances) for each in model.profiles] == [
        (each["name"], [at["start"] for at in each["placements"]], each["max_instances"]) for each in row["profiles"]
    ]
    assert [(each.memory_units, each.memory_mib, each.multiprocessors) for each in model.profiles] == [
        (each["memory_units"], each["memory_mib"], each["sm"]) for each in row["profiles"]
    ]
    assert [(each.nvml_enum, each.nvml_id) for each in model.profiles] == [
        (each["nvml_enum"], each["profile_id"]) for each in row["profiles"]
    ]


@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "subset"), COUNTED)
def test_as_many_layouts_are_enumerated_as_the_tables_count(name: str, subset: str) -> None:
    model = gpu_model(name)
    profiles = SUBSETS[subset](model)
    layouts = list(every_layout(model, profiles))
    maximal = [layout for layout in layouts if is_maximal(model, profiles, layout)]
    geometry = next(gpu["geometry"] for gpu in TABLES["gpus"] if gpu["model"] == name)

    assert {
        "all_states": len({frozenset(layout) for layout in layouts}),
        "maximal_placed": len(maximal),
        "maximal_multisets": len({multiset(layout) for layout in maximal}),
        "all_multisets": len({multiset(layout) for layout in layouts}),
    } == GEOMETRIES[geometry]["layout_counts"][subset]
    assert len(layouts) == len({frozenset(layout) for layout in layouts})  # none twice


@pytest.mark.parametrize("geometry", ["44", "78"])
def test_the_maximal_layouts_are_those_that_are_listed(geometry: str) -> None:
    listed = GEOMETRIES[geometry]
    model = gpu_model(listed["example_model"])
    profiles = plain_without_double_memory(model)
    found = {
        frozenset(str(place) for place in layout)
        for layout in every_layout(model, profiles)
        if is_maximal(model, profiles, layout)
    }
    expected = listed.get("maximal_layouts") or listed["maximal_layouts_without_double_memory"]
    assert found == {frozenset(layout) for layout in expected}
    assert len(found) == len(expected) == {"44": 5, "78": 19}[geometry]


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_no_layout_has_more_compute_than_the_part_and_none_needs_to_be_counted(model: GpuModel) -> None:
    """The claim that makes a sum over compute slices needless: disjoint masks never exceed it, with any attribute."""
    most = max(sum(place.profile.compute for place in layout) for layout in every_layout(model, model.profiles))
    assert most == model.compute_slices


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_at_most_as_many_of_a_profile_fit_as_the_driver_says(model: GpuModel) -> None:
    for profile in model.profiles:
        assert max(len(layout) for layout in every_layout(model, [profile])) == profile.max_instances


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_as_many_masks_are_occupied_as_the_tables_count(geometry: str) -> None:
    model = gpu_model(GEOMETRIES[geometry]["example_model"])
    masks = {sum(place.mask & model.memory_mask for place in each) for each in every_layout(model, plain(model))}
    assert len(masks) == GEOMETRIES[geometry]["layout_counts"]["distinct_occupied_masks_plain"]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_layouts_are_those_of_the_written_rule(geometry: str) -> None:
    """Read from the JSON without a mask: disjoint intervals, one `+me`, one `+me.all` with only `-me` beside it."""
    row = next(each for each in TABLES["gpus"] if each["model"] == GEOMETRIES[geometry]["example_model"])
    model = gpu_model(row["model"])
    slices = [
        (each["name"], each["attribute"], at["start"], at["start"] + at["size"])
        for each in row["profiles"]
        for at in each["placements"]
    ]

    def extended(chosen: tuple[Cut, ...], rest: list[Cut]) -> Iterator[frozenset[str]]:
        yield frozenset(f"{name}@{start}" for name, _, start, _ in chosen)
        for at, each in enumerate(rest):
            if all(_may_stand_beside(each, other) for other in chosen):
                yield from extended((*chosen, each), rest[at + 1 :])

    by_rule = set(extended((), slices))
    assert by_rule == {frozenset(map(str, layout)) for layout in every_layout(model, model.profiles)}


def _may_stand_beside(one: Cut, other: Cut) -> bool:
    attributes = {one[1], other[1]}
    if "+me.all" in attributes and attributes != {"+me.all", "-me"}:
        return False
    if one[1] == other[1] == "+me":
        return False
    return one[3] <= other[2] or other[3] <= one[2]


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_a_model_is_found_by_its_name_and_by_every_name_of_its_product(model: GpuModel) -> None:
    for label in (model.name, *model.aliases):
        assert gpu_model(f" {label.upper()} ") is model


def test_an_unknown_model_is_told_which_are_known() -> None:
    with pytest.raises(UnknownModel) as refused:
        gpu_model("V100")
    known = ", ".join(model.name for model in GPU_MODELS)
    assert str(refused.value) == f"'V100' is not a known GPU model: known are {known}"
    assert len(GPU_MODELS) == 14
