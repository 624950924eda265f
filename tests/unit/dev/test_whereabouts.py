"""Where the folders of every `dev` of a user lie."""

import os
import tempfile
from pathlib import Path

import pytest

from knative_mig.dev import whereabouts
from knative_mig.dev.whereabouts import home

MOST_BYTES = 107  # of a socket's path, for the kernel


@pytest.mark.parametrize("user", [0, 1000, 200_000])
@pytest.mark.parametrize("temporary", ["t", "tmp", "var/tmp", "tmp/of/somebody", "home/somebody/tmp"])
def test_wherever_temporary_files_are_the_socket_of_each_slice_has_a_path_that_the_kernel_takes(
    monkeypatch: pytest.MonkeyPatch, temporary: str, user: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/{temporary}")
    monkeypatch.setattr(os, "getuid", lambda: user)
    slice_ = "GPU-504d19ff-7c8c-4433-bf36-bcb1ef21a5e8-1g.24gb+me.all-7"
    socket = home() / "12345678" / "n15" / "s" / slice_ / "agent.sock"
    assert len(os.fsencode(socket)) <= MOST_BYTES
    if temporary == "t":
        assert str(home()) == f"/t/knative-mig-{user}"


def test_one_that_ends_while_it_is_looked_for_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "12345678").mkdir()
    (tmp_path / "12345678" / whereabouts.KUBECONFIG).touch()

    def is_held(lock: Path) -> bool:
        lock.with_name(whereabouts.KUBECONFIG).unlink()
        return True

    monkeypatch.setattr(whereabouts, "_is_held", is_held)
    assert whereabouts.kubeconfig_of_running(tmp_path) is None
