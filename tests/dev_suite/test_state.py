"""A `dev` that keeps what it has: the next one goes on, no two have it, and one that is damaged is told."""

import shutil
from pathlib import Path

from tests.cluster.slices import GpuNodeView
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.own import OPTIONS, api_of, client_of, function_of
from tests.dev_suite.running import interrupted, refused, started
from tests.rigs.running_dev import RunningDev


def test_what_is_kept_is_gone_on_from_and_is_one_devs(home: Path, tmp_path: Path) -> None:
    options = (*OPTIONS, "--state", str(tmp_path / "state"))
    with started(*options) as one:
        client_of(one, "kn", home)("service", "create", "hello", *QUICK, "--limit", "nvidia.com/mig-1g.5gb=1")
        assert f"another knative-mig dev (process {one.process.pid}) has it" in refused(*options)
        before = _devices(one)
        one.process.kill()
    with started(*options) as two:
        assert function_of(two, "hello").ask().text == "hello\n"
        assert _devices(two) == before
        assert "hello-00001" in client_of(two, "kubectl", home)("get", "revisions")
        assert interrupted(two) == 0
    node = tmp_path / "state" / "node-1"
    damaged = (node / "agent" / "handed-out", node / "agent" / "journal", node / "allocations")
    for file in damaged:
        file.write_text("garbage\n")
    (node / "agent" / "layout").write_text("garbage\n")  # it is the API's word, remembered: nothing is lost
    with started(*options) as three:
        for file in damaged:
            three.hear(f"{file}: it was damaged, is kept as {file.name}.damaged")
        assert three.said.count("damaged") == 2 * len(damaged)
        assert function_of(three, "hello").ask().text == "hello\n"
    shutil.rmtree(node)
    (tmp_path / "state" / "dev.json").unlink()
    with started(*options) as four:
        four.hear(f"{node}/agent/simulated-gpus is not there any more: node-1 begins with empty GPUs")
        assert function_of(four, "hello").ask().text == "hello\n"
        assert interrupted(four) == 0
    (tmp_path / "state" / "dev.json").unlink()
    other = ("--gpus", "1xH100-80GB", "--state", str(tmp_path / "state"))
    assert "its dev.json is not there any more, and its nodes have GPUs: --gpus 1xA100-40GB goes on" in refused(*other)
    [log] = (tmp_path / "state").rglob("objects.log")
    content = log.read_bytes()
    middle = len(content) // 2
    torn = content[:middle] + b"\xff" + content[middle + 1 :]
    log.write_bytes(torn)
    assert "does not match its checksum" in refused(*options)
    assert log.read_bytes() == torn


def _devices(dev: RunningDev) -> set[str]:
    """The slices of its node."""
    return {each.device for each in GpuNodeView("node-1", api_of(dev)).slices()}
