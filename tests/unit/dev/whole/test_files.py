"""How many files are enough, how many of them requests have, and that a lack is said once."""

import errno
import os
import resource

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.whole import files
from knative_mig.dev.whole.files import Files


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> list[tuple[int, int]]:
    """What is set then."""
    put: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (min(most, 1024), most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: put.append(limits))
    return put


def test_all_that_may_be_had_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    put = limited(monkeypatch, 4096)
    assert files.allowed(1) == 4096
    assert put == [(4096, 4096)]


@pytest.mark.parametrize(("nodes", "least", "of"), [(1, 240, "1 node"), (16, 960, "16 nodes")])
def test_too_few_are_refused_with_what_is_enough(
    monkeypatch: pytest.MonkeyPatch, nodes: int, least: int, of: str
) -> None:
    limited(monkeypatch, least)
    assert files.allowed(nodes) == least
    limited(monkeypatch, least - 1)
    with pytest.raises(BadInput) as told:
        files.allowed(nodes)
    assert str(told.value) == (
        f"a process may have {least - 1} files open here (ulimit -Hn): legal are {least} and more for {of}, and two "
        "more for each request at a time"
    )


def test_requests_leave_some_to_all_others() -> None:
    assert (files.for_requests(240, 1), files.for_requests(1024, 1)) == (48, 636)
    assert files.for_requests(1_048_576, 1) == 1_048_576 - 176 - 1000


def test_that_none_is_left_is_said_once_and_that_there_are_enough_again_when_they_stay_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = ["", "full", "full", "", "none", "", "", ""]
    said: list[str] = []
    looked = Files(1024, lambda: seen[0] == "full", said.append)
    make = os.eventfd

    def eventfd(initial: int, flags: int) -> int:
        if seen[0] == "none":
            raise OSError(errno.EMFILE, "Too many open files")
        return make(initial, flags)

    monkeypatch.setattr(os, "eventfd", eventfd)
    for second in range(len(seen)):
        looked.look(float(second))
        seen.pop(0)
    assert said == [
        (
            "a process may have 1024 files open here (ulimit -n), and none is left for one more request: those that "
            "come now wait until others have ended"
        ),
        "there are enough files again",
    ]
