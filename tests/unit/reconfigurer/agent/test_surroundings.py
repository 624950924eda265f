"""Which spec the GPU loops may see: an old one is kept from them on a node that was static until a moment ago.

And who waits at the board hears what else is learnt here.
"""

from collections.abc import Callable
from dataclasses import replace

from knative_mig.core.gpu_node import ADOPTS_LAYOUT, Condition, GpuNode, GpuNodeStatus, Layout
from knative_mig.core.profile import ProfileName
from reconfigurer.agent.board import Board
from reconfigurer.agent.surroundings import Surroundings
from tests.rigs.agent_worlds import wanted_node

STATIC = GpuNodeStatus(layout=Layout.STATIC)
ADOPTING = GpuNodeStatus(conditions=(Condition(type="SpecApplied", status=None, reason=ADOPTS_LAYOUT),))
OLD = wanted_node("A", "3g.20gb@0")


class Rig:
    def __init__(self, *, static: bool = False) -> None:
        self.board = Board()
        self.surroundings = Surroundings(self.board, static=static)

    def adopts(self) -> bool:
        return self.surroundings.adopts_layout

    def sees(self, node: GpuNode, status: GpuNodeStatus | None) -> list[str]:
        """What the loops want of the GPUs then."""
        self.surroundings.spec_seen(replace(node, status=status))
        spec = self.board.snapshot().spec
        assert spec is not None
        assert spec.generation == node.generation
        return [str(each.key) for gpu in spec.spec.gpus for each in gpu.slices]


def test_what_was_wanted_before_an_administrators_layout_is_not_shown_to_the_loops() -> None:
    for last in (STATIC, ADOPTING):
        rig = Rig()
        assert rig.sees(OLD, last) == []
        assert rig.adopts()
        # A new leader's token makes the same spec look newer.
        assert rig.sees(replace(OLD, generation=2), ADOPTING) == []


def test_once_the_planner_has_emptied_it_the_next_spec_is_applied() -> None:
    rig = Rig()
    rig.sees(OLD, STATIC)
    assert rig.sees(wanted_node("A", generation=2), ADOPTING) == []
    assert rig.adopts()  # a GPU that is named without slices is one to be emptied
    rig.sees(replace(OLD, generation=3, spec=replace(OLD.spec, gpus=())), ADOPTING)
    assert not rig.adopts()
    assert rig.sees(replace(OLD, generation=4), ADOPTING) == ["3g.20gb@0"]


def test_what_was_reported_last_counts_even_if_the_mirror_shows_this_agents_own_report_first() -> None:
    rig = Rig()
    rig.surroundings.reported(STATIC)
    assert rig.sees(OLD, GpuNodeStatus()) == []


def test_where_the_layout_was_never_an_administrators_or_still_is_nothing_is_kept_back() -> None:
    assert Rig().sees(OLD, None) == ["3g.20gb@0"]
    assert Rig().sees(OLD, GpuNodeStatus()) == ["3g.20gb@0"]
    assert Rig(static=True).sees(OLD, STATIC) == ["3g.20gb@0"]


def test_what_is_reported_of_it_is_news_at_the_board_and_said_twice_it_is_none() -> None:
    lessons: tuple[Callable[[Surroundings], None], ...] = (
        lambda its: its.connection_seen(registered=False),
        lambda its: its.connection_seen(registered=True),
        lambda its: its.pods_seen(()),
        lambda its: its.pods_seen(("gpu-operator/nvidia-mig-manager-q2w",)),
        lambda its: its.owners_seen({ProfileName.parse("3g.20gb"): "another plugin serves it"}),
    )
    rig = Rig()
    for learn in lessons:
        known = rig.board.snapshot()
        learn(rig.surroundings)
        learnt = rig.board.snapshot()
        assert learnt.version > known.version
        learn(rig.surroundings)
        assert rig.board.snapshot() is learnt
