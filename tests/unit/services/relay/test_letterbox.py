"""Letters from other threads: each is taken, or handed back to whoever has to answer for it."""

from services.relay.letterbox import Letterbox
from services.relay.wire import wait


def test_it_is_waited_for_like_a_connection_and_gives_all_that_has_come() -> None:
    box: Letterbox[str] = Letterbox()
    assert wait([box], 0.0) == set()
    assert box.put("a")
    assert box.put("b")
    assert wait([box], 0.0) == {box.fileno()}
    assert box.take() == ["a", "b"]
    assert wait([box], 0.0) == set()
    assert box.close() == []


def test_what_comes_too_late_is_handed_back() -> None:
    box: Letterbox[str] = Letterbox()
    box.put("a")
    assert box.close() == ["a"]
    assert not box.put("b")
