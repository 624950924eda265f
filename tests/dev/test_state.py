"""`knative-mig dev --state`, killed and started again, and asked by the verbs."""

import os
import signal
from pathlib import Path

import pytest

from knative_mig.adapters.kube.kinds import FUNCTION, POD
from knative_mig.cli.main import main
from knative_mig.ports.kube import Key
from tests.rigs.running_dev import RunningDev, until

TINY = Key("default", "tiny")
CONTAINER = {"image": "dev.local/tiny-llm", "resources": {"limits": {"nvidia.com/mig-2g.10gb": "1"}}}
BODY = {
    "apiVersion": FUNCTION.group,
    "kind": FUNCTION.kind,
    "metadata": {"name": TINY.name, "namespace": TINY.namespace},
    "spec": {"template": {"spec": {"containers": [CONTAINER]}}},
}


def pods(dev: RunningDev) -> set[str]:
    return {each["metadata"]["uid"] for each in dev.client.page(POD, "default", {}).items}


def asked(dev: RunningDev, capsys: pytest.CaptureFixture[str], *verb: str) -> tuple[str, str]:
    """What that verb prints, on the standard output and the standard error."""
    assert main((*verb, "--kubeconfig", str(dev.folder / "kubeconfig"))) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_second_start_goes_on_where_a_killed_one_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--state", str(tmp_path / "state"), "--speed", "20")
    with RunningDev(*options, "--gpus", "1xA100-40GB") as first:
        made = first.client.create(FUNCTION, TINY.namespace, BODY)["metadata"]
        said, phases = asked(first, capsys, "invoke", "tiny", "Once upon a time")
        assert said.strip()
        assert [line.split()[0] for line in phases.splitlines()][-2:] == ["first", "64"]
        gpu, before = asked(first, capsys, "gpus")[0].splitlines()[0].partition("|")[0], pods(first)
        newest = first.client.page(POD, "default", {}).resource_version
        os.kill(first.process.pid, signal.SIGKILL)
        until(lambda: not first.processes())
    with RunningDev(*options) as again:
        now = again.client.page(POD, "default", {})
        assert int(now.resource_version) > int(newest)
        assert again.client.get(FUNCTION, TINY)["metadata"]["uid"] == made["uid"]
        assert asked(again, capsys, "invoke", "tiny", "Once upon a time")[0].strip()
        assert before.isdisjoint(pods(again))
        lines = asked(again, capsys, "gpus")[0].splitlines()
        assert lines[0].startswith(gpu)  # the same GPU
        assert [line.split()[0] for line in lines if line.startswith("    ")] == ["2g.10gb@4"]  # the slice of before
