"""The scenarios of tests/scenarios on `knative-mig dev`, each on one of its own, by the real kn.

What a failed one leaves for a person is in build/e2e-dev/scenarios: logs of all processes, and the objects.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import figures
from tests.cluster.api import POD, REVISION, SERVICE
from tests.cluster.slices import EVENT, GPU_NODE
from tests.cluster.stage import Stage
from tests.cluster.testbed.build import build, go_version
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.versions import versions
from tests.dev_suite.stage import fleet, stage_on
from tests.rigs.running_dev import RunningDev
from tests.scenarios import breaking, crowds, limits, merging, moving, telling
from tests.scenarios.scenario import Scenario

_EVIDENCE: Final = Path("build/e2e-dev/scenarios")
_LONGEST_S: Final = 500  # several waits of a minute and more, each of which says what it waited for
_SCENARIOS: Final = sorted(
    (scenario for file in (merging, moving, breaking, limits, crowds, telling) for scenario in file.SCENARIOS),
    key=lambda scenario: -scenario.seconds,
)


def _binary(component: str, name: str) -> Path:
    return build(Cache.from_environment(), versions().components[component], go_version(), Progress()).binary(name)


@pytest.fixture
def dev(scenario: Scenario) -> Iterator[RunningDev]:
    # At this level the pending source writes down what it has sent. A part that a story stops (`steering`) stays so.
    with RunningDev("--gpus", fleet(scenario), "--keep-hung", KNATIVE_MIG_LOG_LEVEL="debug") as running:
        yield running


@pytest.fixture
def stage(scenario: Scenario, dev: RunningDev, record_property: figures.Record) -> Iterator[Stage]:
    told = figures.timelines(record_property)
    with stage_on(dev, kn=_binary("kn", "kn"), function=_binary("own", "function"), told=told) as made:
        if scenario.eventing:
            made.steering.broker(made.namespace).make()
        yield made


@contextmanager
def _evidence(name: str, dev: RunningDev, stage: Stage) -> Iterator[None]:
    try:
        yield
    except BaseException:
        folder = _EVIDENCE / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(dev.folder / "kept", folder, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        (folder / "said.txt").write_text(dev.said)
        for kind in (SERVICE, REVISION, POD, EVENT, GPU_NODE):
            (folder / f"{kind.plural}.json").write_text(json.dumps(stage.api.items(kind), indent=1))
        print(f"evidence: {folder}")
        raise


@pytest.mark.long
@pytest.mark.timeout(_LONGEST_S, func_only=True)
@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in _SCENARIOS])
def test_scenario(scenario: Scenario, dev: RunningDev, stage: Stage) -> None:
    with _evidence(scenario.name, dev, stage):
        scenario.play(stage)
