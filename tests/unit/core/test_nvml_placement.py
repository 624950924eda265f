import json
from pathlib import Path
from typing import Any

import pytest

from knative_mig.core.geometry import GpuModel
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.nvml_placement import default_place
from knative_mig.core.profile import ProfileName
from tests.rigs.every_layout import every_layout

CAPTURES = json.loads((Path(__file__).parents[2] / "data" / "mig_tables.json").read_text())["hardware_captures"]
FROM_ISSUES = [
    ("A100-40GB", ["2g.10gb", *["1g.5gb"] * 5], [4, 6, 0, 1, 2, 3]),
    ("A30-24GB", ["1g.6gb", "1g.6gb", "2g.12gb"], [0, 1, 2]),
    ("RTX-PRO-6000-BLACKWELL-96GB", ["2g.48gb", "1g.24gb", "1g.24gb"], [0, 6, 9]),
]


def starts(model: GpuModel, names: list[str]) -> list[int | None]:
    taken, found = 0, list[int | None]()
    for name in names:
        place = default_place(model, model.profile(ProfileName.parse(name)), taken)
        found.append(None if place is None else place.start)
        taken |= 0 if place is None else place.mask
    return found


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: f"{c['model']}-{'-'.join(c['create_sequence'])}")
def test_creates_where_the_hardware_was_seen_to(capture: dict[str, Any]) -> None:
    assert starts(gpu_model(capture["model"]), capture["create_sequence"]) == capture["observed_starts"]


@pytest.mark.parametrize(("model", "names", "seen"), FROM_ISSUES, ids=[model for model, _, _ in FROM_ISSUES])
def test_creates_where_reports_in_public_issues_say(model: str, names: list[str], seen: list[int]) -> None:
    assert starts(gpu_model(model), names) == seen


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_the_whole_gpu_has_one_place_and_a_taken_one_has_none(model: GpuModel) -> None:
    whole = max(model.profiles, key=lambda profile: profile.memory_units)
    assert default_place(model, whole, 0) == model.place(whole, 0)
    assert default_place(model, whole, 1) is None


@pytest.mark.parametrize("name", ["A100-40GB", "A30-24GB", "RTX-PRO-6000-BLACKWELL-96GB"])
def test_beside_every_layout_it_is_free_and_there_is_one_whenever_one_is_free(name: str) -> None:
    model = gpu_model(name)
    for layout in every_layout(model, model.profiles):
        taken = 0
        for place in layout:
            taken |= place.mask
        for profile in model.profiles:
            chosen = default_place(model, profile, taken)
            assert (chosen is None) == all(place.mask & taken for place in model.places_of(profile))
            assert chosen is None or not chosen.mask & taken


def test_a_double_memory_slice_prefers_the_pair_that_holds_one_compute_slice() -> None:
    assert starts(gpu_model("A100-40GB"), ["1g.10gb"] * 4) == [6, 4, 0, 2]
