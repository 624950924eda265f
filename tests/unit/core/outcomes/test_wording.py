"""What a pod that waits is told, what of it is news, and when it is told so."""

import pytest

from knative_mig.core.outcomes.wording import CONDITION, EVENT, Pace, worded
from knative_mig.core.planner.decisions import Because, Reason

AGAIN_S = 300.0


def reason(free: int, holder: str = "team/a") -> Reason:
    return Reason(Because.NO_FREE_PLACE, f"{free} units are free; held by {holder}", figures=(f"{free} units",))


def test_a_message_is_the_reason_and_what_would_help() -> None:
    assert worded(reason(3), ("less", "more")).message == (
        "3 units are free; held by team/a; what would help: less, or more"
    )
    assert worded(reason(3)).message == "3 units are free; held by team/a"


def test_figures_are_no_news_and_another_holder_is_as_is_another_help() -> None:
    gist = worded(reason(3), ("less",)).gist
    assert worded(reason(5), ("less",)).gist == gist
    assert worded(reason(3, "team/b"), ("less",)).gist != gist
    assert worded(reason(3), ("more",)).gist != gist


def test_a_figure_in_what_would_help_is_no_news_either() -> None:
    soon, late = (Reason(Because.NO_FREE_PLACE, f"ends {at}", figures=(at,)) for at in ("at 1", "at 2"))
    assert worded(soon, ("waiting: it ends at 1",)).gist == worded(late, ("waiting: it ends at 2",)).gist


@pytest.mark.parametrize(
    ("pace", "waiting", "after_s"),
    [(CONDITION, 1, 10.0), (CONDITION, 100, 50.0), (CONDITION, 1000, AGAIN_S), (EVENT, 1, 60.0), (EVENT, 200, 100.0)],
)
def test_news_are_told_after_a_while_that_grows_with_those_who_wait(pace: Pace, waiting: int, after_s: float) -> None:
    assert not pace.is_due(after_s - 0.1, news=True, waiting=waiting, again_s=AGAIN_S)
    assert pace.is_due(after_s, news=True, waiting=waiting, again_s=AGAIN_S)


def test_what_is_no_news_is_told_again_after_long() -> None:
    assert not CONDITION.is_due(AGAIN_S - 1, news=False, waiting=1, again_s=AGAIN_S)
    assert CONDITION.is_due(AGAIN_S, news=False, waiting=1, again_s=AGAIN_S)
