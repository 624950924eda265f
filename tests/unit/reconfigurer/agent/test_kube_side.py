"""The node's layout is known before anything is changed, also while the API server is away."""

from collections.abc import Callable
from pathlib import Path

from knative_mig.core.gpu_node import Layout
from knative_mig.ports.kube import ApiUnreachable
from reconfigurer.agent.kube_side import KubeSide
from tests.rigs.agent_worlds import FakeEvents, FakeGpuNodes, FakeLeases, FakeNodeStatuses, FakePods
from tests.rigs.fake_cluster import FakeMirror


def side(read_layout: Callable[[], Layout]) -> KubeSide:
    return KubeSide(
        gpu_nodes=FakeGpuNodes(),
        node_statuses=FakeNodeStatuses(),
        pods=FakePods(),
        leases=FakeLeases(),
        events=FakeEvents(),
        spec_mirror=FakeMirror({}),
        pod_mirror=FakeMirror({}),
        read_layout=read_layout,
    )


def away() -> Layout:
    raise ApiUnreachable("no route")


def test_the_layout_is_as_the_node_says_and_remembered_for_a_start_without_the_api_server(tmp_path: Path) -> None:
    remembered = tmp_path / "layout"
    assert side(lambda: Layout.STATIC).layout(remembered) is Layout.STATIC
    assert side(away).layout(remembered) is Layout.STATIC
    assert side(lambda: Layout.DYNAMIC).layout(remembered) is Layout.DYNAMIC
    assert side(away).layout(remembered) is Layout.DYNAMIC


def test_where_nobody_ever_said_the_api_server_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "layout").write_text("nonsense")
    waits: list[float] = []

    def back_after_two_tries() -> Layout:
        return Layout.DYNAMIC if len(waits) == 2 else away()

    assert side(back_after_two_tries).layout(tmp_path / "layout", waits.append) is Layout.DYNAMIC


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path: Path) -> None:
    (tmp_path / "layout.new").mkdir()
    assert side(lambda: Layout.STATIC).layout(tmp_path / "layout") is Layout.STATIC
