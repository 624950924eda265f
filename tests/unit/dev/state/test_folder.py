"""The state folder: one `dev` at a time, for the GPUs that it was made for, and files that are what they were."""

import os
from pathlib import Path

import pytest

from knative_mig.adapters.sim_gpu import open_store
from knative_mig.core.errors import BadInput
from knative_mig.dev.state.folder import StateFolder

A100 = "1xA100-40GB"


def opened(path: Path, gpus: str | None = None) -> StateFolder:
    return StateFolder.open(path, gpus=gpus, default_gpus=A100)


def test_a_second_dev_is_told_who_has_it_until_that_one_has_ended(tmp_path: Path) -> None:
    first = opened(tmp_path / "new" / "state")
    with pytest.raises(BadInput, match=rf"state: another knative-mig dev \(process {os.getpid()}\) has it: "):
        opened(first.path)
    first.close()
    opened(first.path).close()


def test_a_kill_lets_go_of_it(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        opened(tmp_path)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    opened(tmp_path).close()


def test_it_is_for_the_nodes_and_gpus_that_it_was_made_for(tmp_path: Path) -> None:
    made_for = "2xA100-40GB,1xH100-80GB"
    for asked in (made_for, None, "2xNVIDIA A100-SXM4-40GB, 1xH100-80GB"):
        folder = opened(tmp_path, asked)
        assert folder.gpus == made_for
        folder.close()
    for other in (A100, "1xA100-40GB,1xA100-40GB,1xH100-80GB"):
        with pytest.raises(BadInput, match=rf"--gpus {other}: .* was made for {made_for}: legal is that, "):
            opened(tmp_path, other)


def test_gpus_that_nobody_knows_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not written like 2xA100-40GB"):
        opened(tmp_path, "lots")
    folder = opened(tmp_path)
    assert folder.gpus == A100
    folder.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("{", r"dev\.json: is not JSON: .*: legal is what was written", id="torn"),
        pytest.param(
            '{"version": 2, "gpus": "x"}', r"dev\.json: is of version 2, and this knative-mig reads 1", id="newer"
        ),
        pytest.param("[]", r"dev\.json: has no version or no gpus", id="another file"),
    ],
)
def test_says_what_is_wrong_with_what_it_is(tmp_path: Path, text: str, says: str) -> None:
    opened(tmp_path).close()
    (tmp_path / "dev.json").write_text(text)
    with pytest.raises(BadInput, match=says):
        opened(tmp_path)


def test_a_damaged_gpu_is_told_before_an_agent_meets_it(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    home = folder.path / "node-1" / "agent"
    home.mkdir(parents=True)
    open_store(A100, home / "simulated-gpus")
    folder.close()
    opened(tmp_path).close()
    (home / "simulated-gpus").write_bytes((home / "simulated-gpus").read_bytes()[:-9])
    with pytest.raises(
        BadInput, match=r"node-1/agent/simulated-gpus: is not JSON.*; put back a copy of the file, or move it away"
    ):
        opened(tmp_path)


def test_no_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"--state .*/file: File exists: legal is a directory of yours"):
        opened(tmp_path / "file")


def with_gpus(folder: StateFolder, node: str, gpus: str = A100) -> Path:
    home = folder.path / node / "agent"
    home.mkdir(parents=True)
    open_store(gpus, home / "simulated-gpus")
    return home / "simulated-gpus"


def test_what_is_gone_is_told_and_what_was_never_there_is_not(tmp_path: Path) -> None:
    folder = opened(tmp_path, f"{A100},{A100}")
    nodes = ("node-1", "node-2")
    assert not list(folder.lost(nodes))
    gpus = with_gpus(folder, "node-1")
    assert list(folder.lost(nodes)) == [
        f"{tmp_path}/objects.log is not there any more: the functions are gone, the GPUs keep their slices"
    ]
    folder.objects.touch()
    with_gpus(folder, "node-2")
    assert not list(folder.lost(nodes))
    gpus.unlink()
    assert list(folder.lost(nodes)) == [f"{gpus} is not there any more: node-1 begins with empty GPUs"]
    folder.close()


def test_where_it_is_not_said_any_more_which_gpus_it_was_made_for_the_option_that_goes_on_is(tmp_path: Path) -> None:
    fleet = "1xA100-40GB,2xH100-80GB"
    folder = opened(tmp_path, fleet)
    with_gpus(folder, "node-1")
    with_gpus(folder, "node-2", "2xH100-80GB")
    folder.close()
    (tmp_path / "dev.json").unlink()
    for asked in (None, "2xH100-80GB"):
        with pytest.raises(BadInput) as refused:
            opened(tmp_path, asked)
        assert str(refused.value) == (
            f"--state {tmp_path}: its dev.json is not there any more, and its nodes have GPUs: --gpus {fleet} goes on "
            "with them; or name another directory"
        )
    assert not (tmp_path / "dev.json").exists()
    opened(tmp_path, fleet).close()
    assert opened(tmp_path).gpus == fleet
