"""The plugins stay registered through what becomes of a kubelet, and say when another plugin serves the same."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from knative_mig.adapters.kubelet import registration
from tests.contract.fake_kubelet import FakeKubelet
from tests.contract.kubelet_rig import BIG, SMALL, Rig, another_agent, device, short_folder


class Clock:
    """Runs, and can be put ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="kubelet")
def _kubelet(clock: Clock) -> Iterator[FakeKubelet]:
    with short_folder() as folder, FakeKubelet(folder, clock=clock) as kubelet:
        yield kubelet


@pytest.fixture(name="rig")
def _rig(kubelet: FakeKubelet, clock: Clock) -> Iterator[Rig]:
    rig = Rig(kubelet, clock)
    rig.start()
    yield rig
    rig.stop()


def _serve_two(rig: Rig) -> None:
    rig.serve(device(SMALL, 0), device(BIG, 4))
    rig.kubelet.wait_for(lambda: rig.kubelet.allocatable(SMALL) == 1 and rig.kubelet.allocatable(BIG) == 1)
    rig.until(lambda: rig.connected[-1:] == [True])


def test_a_restarted_kubelet_is_told_everything_again_and_pods_go_on(rig: Rig, kubelet: FakeKubelet) -> None:
    _serve_two(rig)
    kubelet.admit("shop", "chat-1", "user-container", SMALL)

    kubelet.restart()

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(BIG) == 1)
    rig.until(lambda: rig.connected[-1])  # an absence shorter than a look is not reported
    kubelet.restart_container("shop", "chat-1", "user-container")
    assert len(rig.desk.handed_out) == 1
    assert len(rig.desk.starts) == 2
    assert rig.owners == {}


def test_a_kubelet_that_was_killed_leaves_a_dead_socket_and_is_waited_for(rig: Rig, kubelet: FakeKubelet) -> None:
    _serve_two(rig)

    kubelet.stop(killed=True)
    rig.until(lambda: rig.connected[-1] is False)
    rig.serve(device(SMALL, 0), device(SMALL, 1), device(BIG, 4))
    kubelet.start()

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 2 and kubelet.allocatable(BIG) == 1)
    rig.until(lambda: rig.connected[-1])
    assert rig.owners == {}


def test_ten_restarts_leave_no_thread_behind(rig: Rig, kubelet: FakeKubelet) -> None:
    _serve_two(rig)
    kubelet.restart()
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(BIG) == 1)
    before = _plugin_threads()

    for _ in range(10):
        kubelet.restart()
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(BIG) == 1)

    assert _plugin_threads() <= before + 2, "one listener a profile, and threads that wait for the next call"


def _plugin_threads() -> int:
    return sum(thread.name.startswith("device-plugin") for thread in threading.enumerate())


def test_plugins_that_start_first_wait_for_their_kubelet() -> None:
    with short_folder() as folder:
        kubelet = FakeKubelet(folder)
        kubelet.plugins_folder.mkdir()
        rig = Rig(kubelet)
        rig.start()
        rig.serve(device(SMALL, 0))
        rig.until(lambda: rig.connected == [False])
        with kubelet:
            kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
            rig.until(lambda: rig.connected == [False, True])
            rig.stop()


def test_a_socket_that_somebody_removed_is_made_anew(rig: Rig, kubelet: FakeKubelet) -> None:
    _serve_two(rig)

    for path in kubelet.plugins_folder.glob("knative-mig-1g.5gb.*.sock"):
        path.unlink()

    kubelet.wait_for(lambda: kubelet.registrations.count("nvidia.com/mig-1g.5gb") == 2)
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
    assert kubelet.registrations.count("nvidia.com/mig-3g.20gb") == 1
    assert rig.owners == {}


def test_a_killed_predecessors_socket_is_cleared_away_and_another_plugins_is_not() -> None:
    with short_folder() as folder, FakeKubelet(folder) as kubelet:
        for name in ("knative-mig-7g.40gb.abc.1.sock", "vendor.sock"):
            with socket.socket(socket.AF_UNIX) as left_behind:
                left_behind.bind(str(kubelet.plugins_folder / name))
        rig = Rig(kubelet)
        rig.start()
        rig.serve(device(SMALL, 0))
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
        rig.stop()
        assert {path.name for path in kubelet.plugins_folder.iterdir()} == {"kubelet.sock", "vendor.sock"}


def test_a_registration_that_is_refused_is_tried_again(rig: Rig, kubelet: FakeKubelet) -> None:
    kubelet.refusal = "the device manager is not ready"
    rig.serve(device(SMALL, 0))
    rig.until(lambda: rig.connected == [False])

    kubelet.refusal = ""

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)


def test_a_kubelet_that_dials_a_socket_which_it_has_removed_is_told_of_another(
    rig: Rig, kubelet: FakeKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It started after we had looked at the socket, and dials it for as long as it is asked."""
    monkeypatch.setattr(registration, "ANSWER_WITHIN_S", 600.0)
    with kubelet.hanging():
        rig.serve(device(SMALL, 0))
        kubelet.wait_for(lambda: kubelet.hanging_calls == 1)
        [path] = kubelet.plugins_folder.glob("knative-mig-1g.5gb.*.sock")
        path.unlink()
        kubelet.wait_for(lambda: list(kubelet.plugins_folder.glob("knative-mig-1g.5gb.*.sock")) not in ([], [path]))
    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)


def test_stopping_does_not_wait_for_a_kubelet_that_hangs(rig: Rig, kubelet: FakeKubelet) -> None:
    with kubelet.hanging():
        rig.serve(device(SMALL, 0))
        kubelet.wait_for(lambda: kubelet.hanging_calls == 1)
        asked_at = time.monotonic()
        rig.stop()
        print(f"stopped within {1000 * (time.monotonic() - asked_at):.0f} ms")
        assert kubelet.registrations == []
        kubelet.wait_for(lambda: kubelet.hanging_calls == 0)  # while it hangs: the call was given up, not waited for


def test_a_plugin_that_registers_later_with_devices_of_its_own_is_reported(rig: Rig, kubelet: FakeKubelet) -> None:
    _serve_two(rig)
    rig.observe()
    assert rig.owners == {}

    with another_agent(kubelet) as other:
        other.serve(device(SMALL, 6))
        kubelet.wait_for(lambda: kubelet.healthy(SMALL) == {device(SMALL, 6).id})
        rig.observe()
        rig.until(lambda: SMALL in rig.owners)
        assert "1g.5gb/6" in rig.owners[SMALL]
        assert BIG not in rig.owners

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 0)
    rig.observe()
    kubelet.wait_for(lambda: kubelet.healthy(SMALL) == {device(SMALL, 0).id})
    rig.until(lambda: rig.owners == {})
    kubelet.admit("shop", "chat-1", "user-container", SMALL)


def test_a_kubelet_ends_while_two_serve_the_same(rig: Rig, kubelet: FakeKubelet) -> None:
    """As one plugin does that registers again because its first try was answered too late."""
    _serve_two(rig)
    with another_agent(kubelet) as other:
        other.serve(device(SMALL, 6))
        kubelet.wait_for(lambda: kubelet.healthy(SMALL) == {device(SMALL, 6).id})
        ending = threading.Thread(target=kubelet.stop, daemon=True)
        ending.start()
        ending.join(20)
        assert not ending.is_alive()


def test_an_agent_takes_over_from_one_that_ends_after_it_has_begun(
    kubelet: FakeKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    with another_agent(kubelet) as successor:
        with another_agent(kubelet) as predecessor:
            _serve_two(predecessor)
            successor.serve(device(SMALL, 0), device(BIG, 4))
            successor.until(lambda: successor.connected[-1:] == [True])

        for resource in (SMALL.resource, BIG.resource):
            kubelet.wait_for(partial(_registered, kubelet, resource, 3))
        successor.until(lambda: successor.connected[-1])
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1 and kubelet.allocatable(BIG) == 1)
        kubelet.admit("shop", "chat-1", "user-container", SMALL)
        assert successor.owners == {}, "once is an upgrade"
        assert "the kubelet dropped nvidia.com/mig-1g.5gb and did not restart" in caplog.text


def _registered(kubelet: FakeKubelet, resource: str, times: int) -> bool:
    return kubelet.registrations.count(resource) == times


def test_a_plugin_with_the_same_devices_that_comes_and_goes_is_reported(
    rig: Rig, kubelet: FakeKubelet, clock: Clock
) -> None:
    _serve_two(rig)

    for _ in range(2):
        rig.observe()
        with another_agent(kubelet) as other:
            other.serve(device(SMALL, 0))
            other.until(lambda: other.connected[-1:] == [True])
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 0)
        rig.observe()
        assert rig.connected[-1], "the kubelet still listens, and has stopped the resource all the same"

        clock.ahead_s += 6
        rig.observe()
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
        kubelet.admit("shop", "chat-1", "user-container", SMALL)
        kubelet.delete("shop", "chat-1")

    rig.until(lambda: SMALL in rig.owners)
    clock.ahead_s += 60
    rig.until(lambda: rig.owners == {})


def test_a_kubelet_that_takes_in_new_devices_late_has_no_other_plugin(
    rig: Rig, kubelet: FakeKubelet, clock: Clock
) -> None:
    _serve_two(rig)
    there = [device(SMALL, 0)]
    for start in (1, 2):
        before, there = there, [*there, device(SMALL, start)]
        rig.serve(*there, device(BIG, 4))
        kubelet.wait_for(partial(_offers, kubelet, len(there)))
        kubelet.believe(SMALL, *before)
        clock.ahead_s += 6
        rig.observe()
        kubelet.wait_for(partial(_offers, kubelet, len(there)))
    rig.stop()  # by then all is reported
    assert rig.owners == {}


def _offers(kubelet: FakeKubelet, count: int) -> bool:
    return kubelet.allocatable(SMALL) == count


def test_a_kubelet_that_notices_late_that_it_was_left_has_no_other_plugin(
    rig: Rig, kubelet: FakeKubelet, clock: Clock
) -> None:
    """It drops whoever is registered by then, which is this plugin again."""
    _serve_two(rig)
    rig.observe()
    with kubelet.hearing_late():
        rig.serve(device(SMALL, 0), device(SMALL, 1), device(BIG, 4))
        kubelet.wait_for(partial(_offers, kubelet, 2))
        kubelet.believe(SMALL)
        clock.ahead_s += 6
        rig.observe()
        rig.until(lambda: rig.connected.count(True) == 2)

    rig.until(lambda: rig.connected.count(True) == 3)
    kubelet.wait_for(partial(_offers, kubelet, 2))
    rig.stop()
    assert rig.owners == {}


def test_nvidias_plugin_beside_this_one_is_reported_and_not_fought(kubelet: FakeKubelet, rig: Rig) -> None:
    with socket.socket(socket.AF_UNIX) as nvidias:
        nvidias.bind(str(kubelet.plugins_folder / "nvidia-mig-1g.5gb.sock"))
        nvidias.listen()
        rig.serve(device(SMALL, 0), device(BIG, 4))
        rig.until(lambda: SMALL in rig.owners)
        kubelet.wait_for(lambda: kubelet.allocatable(BIG) == 1)
        assert kubelet.allocatable(SMALL) is None
        assert "nvidia-mig-1g.5gb.sock" in rig.owners[SMALL]

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)
    rig.until(lambda: rig.owners == {})


def test_a_resource_without_a_plugin_leaves_the_node_after_five_minutes(kubelet: FakeKubelet, clock: Clock) -> None:
    with another_agent(kubelet) as rig:
        rig.serve(device(SMALL, 0))
        kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 1)

    kubelet.wait_for(lambda: kubelet.allocatable(SMALL) == 0)
    clock.ahead_s += 290
    assert kubelet.capacity(SMALL) == 1
    clock.ahead_s += 11
    assert kubelet.capacity(SMALL) is None
