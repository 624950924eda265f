"""What signals say to a `dev`."""

import signal
from collections.abc import Iterator

import pytest

from knative_mig.dev.whole.told import Told

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def told() -> Iterator[Told]:
    """As in a terminal: nohup, and a shell with its &, have some of them ignored."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in SIGNALS}
    yield Told()
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_says_to_end_and_the_next_to_wait_for_nobody(told: Told, number: signal.Signals) -> None:
    told.listen()
    assert not told.to_end
    signal.raise_signal(number)
    assert (told.to_end, told.to_hurry) == (True, False)
    signal.raise_signal(signal.SIGINT)
    assert told.to_hurry
    assert told.exit_code == 128 + number


def test_the_end_of_its_terminal_is_nothing_to_who_is_to_outlive_it(told: Told) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    told.listen()
    signal.raise_signal(signal.SIGHUP)
    assert not told.to_end
