"""When `knative-mig gpus -w` shows GPUs again, and when it says that it hears of none."""

from knative_mig.cli.gpus import Look
from knative_mig.cli.patience import AGAIN_AFTER_S, TELLS_AFTER_S, Silence
from knative_mig.core.gpu_node import SliceState

from .test_gpu_text import a_node, a_slice


def test_what_looks_as_before_is_not_shown_again_whatever_has_changed_and_however_late_it_is() -> None:
    look = Look(colour=False)
    idle = a_node(a_slice("1g.5gb@0", SliceState.IDLE, idle_since=990.0))
    assert "idle 10 s" in (look.of([idle], 1_000.0) or "")
    assert look.of([idle], 1_007.0) is None
    assert look.of([a_node(a_slice("1g.5gb@0", SliceState.BUSY))], 1_008.0) is not None
    look.forget()
    assert look.of([a_node(a_slice("1g.5gb@0", SliceState.BUSY))], 1_008.0) is not None


def test_silence_is_told_of_after_two_seconds_and_then_every_ten() -> None:
    silence = Silence()
    assert (TELLS_AFTER_S, AGAIN_AFTER_S) == (2.0, 10.0)
    assert [each for each in range(25) if silence.is_news(each)] == [2, 12, 22]
    then = [(silence.is_news(each), silence.was_told) for each in (30.0, 0.5, 2.1)]
    assert then == [(False, True), (False, False), (True, True)]
