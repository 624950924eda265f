import threading
from pathlib import Path

from tests.cluster.turns import Turn


def _try(folder: Path, *, alone: bool, entered: threading.Event, leave: threading.Event) -> threading.Thread:
    def visit() -> None:
        with Turn.at(folder) as turn:
            turn.alone() if alone else turn.side_by_side()
            entered.set()
            leave.wait(120)

    thread = threading.Thread(target=visit)
    thread.start()
    return thread


def test_side_by_side_tests_share_and_one_alone_waits_and_keeps_newcomers_out(tmp_path: Path) -> None:
    names = ("first", "second", "alone", "newcomer")
    entered = {name: threading.Event() for name in names}
    leave = {name: threading.Event() for name in names}
    threads = []

    def come(name: str) -> None:
        alone = name == "alone"
        threads.append(_try(tmp_path, alone=alone, entered=entered[name], leave=leave[name]))

    come("first")
    come("second")
    assert entered["first"].wait(60)
    assert entered["second"].wait(60)
    come("alone")
    assert not entered["alone"].wait(0.1)
    come("newcomer")
    assert not entered["newcomer"].wait(0.1)

    leave["first"].set()
    leave["second"].set()
    # Whoever of the two comes next is in without the other.
    assert entered["alone"].wait(60)
    assert not entered["newcomer"].is_set()
    leave["alone"].set()
    assert entered["newcomer"].wait(60)
    leave["newcomer"].set()
    for thread in threads:
        thread.join()
