import pytest

from knative_mig.cli.slot_map import LEGEND, Mark, draw, mark_of
from knative_mig.core.geometry import GpuModel
from knative_mig.core.inventory import Busy, Ending, Function, Idle, Use
from knative_mig.core.mig_tables import GPU_MODELS, gpu_model
from knative_mig.core.profile import ProfileName
from tests.rigs.every_layout import every_layout

SHOP = Function("shop", "chat")

PICTURES = {
    "empty-8": ("A100-40GB", [], "|      |      |      |      |      |      |      |      |"),
    "empty-4": ("A30-24GB", [], "|      |      |      |      |"),
    "empty-12": ("RTX-PRO-6000-BLACKWELL-96GB", [], "|   |   |   |   |   |   |   |   |   |   |   |   |"),
    "every-state": (
        "A100-40GB",
        [
            ("1g.5gb", 0, Mark.BUSY),
            ("1g.5gb+me", 1, Mark.MOVABLE),
            ("2g.10gb", 2, Mark.IDLE),
            ("1g.10gb", 4, Mark.ENDING),
            ("1g.5gb", 6, Mark.PLANNED),
        ],
        "|1g####|1g+me~|2g-----------|1g>>>>>>>>>>>|1g++++|      |",
    ),
    "halves": (
        "H100-80GB",
        [("4g.40gb", 0, Mark.BUSY), ("3g.40gb", 4, Mark.PLANNED)],
        "|4g#########################|3g+++++++++++++++++++++++++|",
    ),
    "whole": (
        "A100-80GB",
        [("7g.80gb", 0, Mark.IDLE)],
        "|7g-----------------------------------------------------|",
    ),
    "quarters": (
        "A30-24GB",
        [("1g.6gb", 0, Mark.BUSY), ("2g.12gb+me", 2, Mark.IDLE)],
        "|1g####|      |2g+me--------|",
    ),
    "thirds": (
        "RTX-PRO-6000-BLACKWELL-96GB",
        [("1g.24gb+me.all", 0, Mark.BUSY), ("1g.24gb-me", 3, Mark.IDLE), ("2g.48gb-me", 6, Mark.MOVABLE)],
        "|1g+me.all##|1g-me------|2g-me~~~~~~~~~~~~~~~~~~|",
    ),
}


@pytest.mark.parametrize(("model_name", "slots", "picture"), PICTURES.values(), ids=PICTURES.keys())
def test_draws(model_name: str, slots: list[tuple[str, int, Mark]], picture: str) -> None:
    model = gpu_model(model_name)
    marks = {model.place(model.profile(ProfileName.parse(name)), start): mark for name, start, mark in slots}
    assert draw(model, marks) == picture


@pytest.mark.parametrize("model", GPU_MODELS, ids=str)
def test_every_layout_is_equally_wide_and_shows_every_slice_with_its_state(model: GpuModel) -> None:
    width = len(draw(model, {}))
    for layout in every_layout(model, model.profiles):
        picture = draw(model, dict.fromkeys(layout, Mark.IDLE))
        assert len(picture) == width
        assert len([cell for cell in picture.split("|") if cell.endswith("-")]) == len(layout)


@pytest.mark.parametrize(
    ("use", "mark"),
    [
        (Idle(), Mark.IDLE),
        (Busy(SHOP), Mark.BUSY),
        (Busy(SHOP, movable=True, move_s=1), Mark.MOVABLE),
        (Ending(SHOP, 3), Mark.ENDING),
    ],
    ids=["idle", "busy", "movable", "ending"],
)
def test_marks_a_slice_by_its_use(use: Use, mark: Mark) -> None:
    assert mark_of(use) is mark


def test_colour_adds_nothing_but_colour() -> None:
    model = gpu_model("A30-24GB")
    place = model.place(model.profile(ProfileName.parse("2g.12gb")), 2)
    assert draw(model, {place: Mark.IDLE}, colour=True) == "|      |      |\x1b[36m2g-----------\x1b[0m|"


def test_marks_differ_in_fill_so_that_colour_is_never_needed() -> None:
    assert len({mark.fill for mark in Mark}) == len(Mark)
    assert all(f"{mark.fill} {mark.word}" in LEGEND for mark in Mark if mark is not Mark.BROKEN)
