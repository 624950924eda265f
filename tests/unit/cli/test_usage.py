"""`knative-mig usage` on saved pages of metrics; the ConfigMap is read in tests/contract."""

import fcntl
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from knative_mig.core.cluster.meters import Meters, Whose
from knative_mig.dev import whereabouts
from knative_mig.dev.whole.identities import written
from reconfigurer.planner.metrics import MeterCollector

from .conftest import Cli


def page_of(shares: dict[Whose, float]) -> bytes:
    registry, collector = CollectorRegistry(), MeterCollector()
    collector.show(Meters(share_seconds=shares, until=0.0))
    registry.register(collector)
    return generate_latest(registry)


TWO_TEAMS = page_of(
    {
        Whose("alpha", "chat", "3g.20gb", "Busy"): 3600.0,
        Whose("alpha", "code", "1g.5gb", "Busy"): 450.5,
        Whose("alpha", "code", "1g.5gb", "Draining"): 2.0,
        Whose("beta", 'we"ird\\', "7g.40gb", "Busy"): 60.0,
        Whose("", "", "1g.5gb", "Idle"): 900.0,
    }
)


def test_prints_a_line_for_each_namespace_and_one_for_what_nobody_held(cli: Cli) -> None:
    outcome = cli("usage", "--metrics", "-", stdin=TWO_TEAMS)
    assert outcome.code == 0, outcome.err
    assert outcome.out == (
        "NAMESPACE  BUSY S  IDLE S  OTHER S  GPU HOURS\n"
        "alpha        4050       0        2  1.13\n"
        "beta           60       0        0  0.02\n"
        "(nobody)        0     900        0  0.25\n"
        "all          4110     900        2  1.39\n"
    )


def test_prints_a_line_for_each_service(cli: Cli) -> None:
    lines = cli("usage", "--by-service", "--metrics", "-", stdin=TWO_TEAMS).out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["alpha", "chat", "3600"],
        ["alpha", "code", "450"],
        ["beta", 'we"ird\\', "60"],
    ]


def test_prints_data(cli: Cli) -> None:
    found = json.loads(cli("usage", "--json", "--metrics", "-", stdin=TWO_TEAMS).out)
    assert found[0] == {
        "namespace": "alpha",
        "service": "",
        "busySeconds": 4050.5,
        "idleSeconds": 0,
        "otherSeconds": 2.0,
    }


@pytest.mark.parametrize(
    ("page", "says"),
    [
        pytest.param(b"# nothing here\n", "no knative_mig_slice_share_seconds_total on that page", id="another page"),
        pytest.param(
            b'knative_mig_slice_share_seconds_total{namespace="a"} 1\n', "line 1 is no sample", id="labels missing"
        ),
        pytest.param(TWO_TEAMS.replace(b" 3600.0", b" NaN"), "is no sample", id="no number"),
        pytest.param(TWO_TEAMS.replace(b'"Idle"', b'"Lazy"'), "is no sample", id="no state"),
        pytest.param(b"\xff", "cannot be read", id="no text"),
    ],
)
def test_refuses_what_is_no_page_of_the_planner(cli: Cli, page: bytes, says: str) -> None:
    outcome = cli("usage", "--metrics", "-", stdin=page)
    assert outcome.code == 2
    assert says in outcome.err
    assert outcome.err.count("\n") == 1


def test_says_which_file_or_cluster_is_not_there(cli: Cli, tmp_path: Path) -> None:
    missing = cli("usage", "--metrics", "gone.txt")
    assert (missing.code, "gone.txt cannot be read" in missing.err) == (2, True)
    outcome = cli("usage", "--kubeconfig", str(tmp_path / "none"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_asks_the_dev_that_runs_where_no_cluster_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the other verbs do: who has started one does not mean the cluster that kubectl would take."""
    monkeypatch.setattr(whereabouts, "home", lambda: tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    folder = tmp_path / "12345678"
    folder.mkdir()
    written(folder / "kubeconfig", "http://127.0.0.1:1", "dev")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = cli("usage")
    assert (outcome.code, "127.0.0.1:1" in outcome.err) == (1, True), outcome.err
