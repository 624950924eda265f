"""`knative-mig usage` on a cluster: the planner's ConfigMap and its page of metrics print the GPUs' own sums."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from knative_mig.adapters.kube.meter_store import KubeMeterStore
from knative_mig.cli.main import main
from tests.fake_api import FakeApi
from tests.rigs.whole_cluster import WholeCluster


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, float]]:
    """By namespace."""
    assert main(("usage", "--json", *arguments)) == 0
    return {each["namespace"]: each for each in json.loads(capsys.readouterr().out)}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


def test_usage_prints_what_the_gpus_own_clock_says(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = WholeCluster({"n1": "A100-40GB", "n2": "A30-24GB"})
    planner = there.start_planner("planner-a")
    there.ask("chat", "3g.20gb", namespace="alpha")
    there.ask("tiny", "1g.6gb", namespace="beta")
    there.pass_time(900)
    there.end("tiny")  # its slice stays, and is nobody's
    there.pass_time(900)
    page, config = tmp_path / "metrics", tmp_path / "kubeconfig"
    page.write_bytes(generate_latest(planner.registry))
    planner.metering.end(there.planners_clock.wall())
    assert there.cluster.stored is not None
    KubeMeterStore(api.client(), "knative-mig").save(there.cluster.stored.data, replaces=None)
    named = {"name": "c", "cluster": {"server": api.url}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    users = [{"name": "c", "user": {}}]
    config.write_text(json.dumps({"clusters": [named], "contexts": [context], "users": users, "current-context": "c"}))

    from_page, from_cluster = (
        printed(capsys, "--metrics", str(page)),
        printed(capsys, "--kubeconfig", str(config)),
    )

    clock = {str(profile): seconds for profile, seconds in there.by_the_gpus_clock().items()}
    chat, tiny = clock["3g.20gb"], clock["1g.6gb"]
    for found in (from_page, from_cluster):
        assert found.keys() == {"alpha", "beta", ""}
        assert found["alpha"]["busySeconds"] == pytest.approx(chat.in_use, rel=0.01)
        assert found["beta"]["busySeconds"] == pytest.approx(tiny.in_use, rel=0.01)
        assert sum(
            each[kind] for each in found.values() for kind in ("busySeconds", "idleSeconds", "otherSeconds")
        ) == pytest.approx(chat.cut + tiny.cut, rel=0.01)
