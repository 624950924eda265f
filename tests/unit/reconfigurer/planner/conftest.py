"""A planner replica on a cluster in memory, with clocks that tests turn."""

import pytest

from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def replica(cluster: FakeCluster, clock: Clock) -> Replica:
    return Replica(cluster, clock)
