"""What every journal must do; the file's own story, damage and full disks, is in its unit tests."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from knative_mig.adapters.journal_file import JournalFile
from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName
from knative_mig.ports.journal import Intent, Journal, Opened, Operation
from tests.rigs.memory_journal import MemoryDisk

A = GpuUuid("GPU-a")
HALF = SliceKey(profile=ProfileName.parse("3g.20gb"), start=4)
Opener = Callable[[str], tuple[Journal, Opened]]


@pytest.fixture(params=["file", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same journal, as each restart of the agent does."""
    if request.param == "file":
        return lambda boot_id: JournalFile.open(tmp_path / "state" / "journal", boot_id)
    return MemoryDisk().open


def again(opened: Opener, journal: Journal, boot_id: str = "boot-1") -> tuple[Journal, Opened]:
    journal.close()
    return opened(boot_id)


def test_a_new_journal_is_empty_and_writable(opened: Opener) -> None:
    journal, found = opened("boot-1")
    assert found == Opened(intents=())
    assert journal.writable()
    assert journal.open_intents() == 0


def test_an_intent_without_an_end_is_found_after_a_restart_with_all_that_it_said(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    made = journal.intend(Operation.CREATE, A, HALF)
    meant = journal.intend(Operation.DESTROY, A, HALF, mig_uuid="MIG-1")

    journal, found = again(opened, journal, "boot-2")

    assert found.intents == (made, meant)
    assert (meant.operation, meant.gpu, meant.slice, meant.boot_id, meant.mig_uuid) == (
        Operation.DESTROY,
        A,
        HALF,
        "boot-1",
        "MIG-1",
    )
    assert journal.open_intents() == 2


def test_what_was_carried_out_is_not_found_again(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    kept = journal.intend(Operation.CREATE, A, HALF)
    journal.done(journal.intend(Operation.DESTROY, A, HALF))
    _, found = again(opened, journal)
    assert found.intents == (kept,)


def test_an_intent_found_at_the_opening_can_be_ended(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    journal.intend(Operation.CREATE, A, HALF)
    journal, found = again(opened, journal)
    journal.done(found.intents[0])
    assert journal.open_intents() == 0
    assert again(opened, journal)[1].intents == ()


def test_an_end_may_be_told_twice(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    intent = journal.intend(Operation.CREATE, A, HALF)
    journal.done(intent)
    journal.done(intent)
    assert again(opened, journal)[1].intents == ()


def test_numbers_rise_over_restarts_also_when_all_is_done(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    numbers = []
    for _ in range(3):
        intent = journal.intend(Operation.CREATE, A, HALF)
        journal.done(intent)
        numbers.append(intent.number)
        journal, _ = again(opened, journal)
        journal, _ = again(opened, journal)
    assert numbers == sorted(set(numbers))


def test_several_gpu_loops_write_at_once_and_no_number_is_given_twice(opened: Opener) -> None:
    journal, _ = opened("boot-1")
    made: list[Intent] = []

    def loop(gpu: str) -> None:
        for _ in range(20):
            intent = journal.intend(Operation.CREATE, GpuUuid(gpu), HALF)
            made.append(intent)
            if intent.number % 2:
                journal.done(intent)

    threads = [Thread(target=loop, args=(f"GPU-{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({intent.number for intent in made}) == 80
    _, found = again(opened, journal)
    assert {each.number for each in found.intents} == {each.number for each in made if each.number % 2 == 0}
