"""What the comparison with the running autoscaler reads and what it notices, on a second or two of a hand-made life."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from knative_mig.core.kpa.reconcile import Mode, Route
from knative_mig.core.kpa.settings import PREFIX, settings_of
from knative_mig.core.kpa.stats import Stat
from tests.cluster.autoscaler_log import Asked, Burst, Panic, Pass, Tick, Told, lines
from tests.cluster.parity import Input, Life, Made, Routed, Wanted, apart, likeliest, wanted_by
from tests.cluster.scrapes import Capture, Scraped

_KEY = "place/tiny-00001"
_EPOCH = 1_795_960_800.0  # 14:00


def _line(second: float, message: str, *, key: str | None = _KEY) -> str:
    words = {"timestamp": f"2026-11-29T14:00:{second:06.3f}Z", "message": message}
    return json.dumps({**words, "knative.dev/key": key} if key else words)


def _told(second: float, concurrency: float, *, key: str = _KEY) -> str:
    stat = (
        f"PodName:activator-1 AverageConcurrentRequests:{concurrency} AverageProxiedConcurrentRequests:0 "
        "RequestCount:1e-05 ProxiedRequestCount:0 ProcessUptime:0 Timestamp:0"
    )
    return _line(second, f"Received stat message: {{Key:{key} Stat:{{{stat}}}}}", key=None)


def _tick(second: float, stable: float, *, ready: int = 1) -> list[str]:
    observed = (
        f"observed values: stable = {stable:.3f}; panic = {stable:.3f}; target = 1.000 Desired StablePodCount = 3"
    )
    counts = f"PanicPodCount = 3, ReadyEndpointCount = {ready}, MaxScaleUp = 1000, MaxScaleDown = 0"
    burst = f"PodCount={ready} Total1PodCapacity=1.000 TargetBC=-1.000 ExcessBC=-1.000"
    return [_line(second, f"For metric concurrency {observed}, {counts}"), _line(second, burst)]


def _at(second: float) -> Any:
    return pytest.approx(_EPOCH + second, abs=1e-6)


def test_what_the_autoscaler_logs_of_one_revision_is_read_and_what_it_logs_of_others_is_not() -> None:
    log = [
        _told(3.2, 2.5),
        _told(3.2, 7, key=_KEY + "1"),
        *_tick(4.1, 2.5),
        _line(4.1, "No data to scale on yet", key="place/other"),
        _line(4.2, "|OldPods| = 2, |YoungPods| = 1"),
        _line(4.3, "PA scale got=1, want=3, desiredPods=4 ebc=-1"),
        _line(4.4, "PANICKING."),
        _line(4.5, "Operating in panic mode."),
        _line(6.1, "No data to scale on yet"),
    ]
    assert list(lines(log, _KEY)) == [
        Told(at=_at(3.2), stat=Stat(concurrency=2.5, requests=1e-05)),
        Tick(at=_at(4.1), averages=(2.5, 2.5), ready=1),
        Burst(at=_at(4.1), excess=-1),
        Asked(at=_at(4.2), pods=3),
        Pass(at=_at(4.3), ready=1, wanted=3, wished=4),
        Panic(at=_at(4.4), begins=True),
        Tick(at=_at(6.1), averages=None),
    ]


def test_a_pods_answer_is_read_off_its_packet_once() -> None:
    body = b"\x0a\x0etiny-00001-abc" + b"\x11" + struct.pack("<d", 1.5) + b"\x21" + struct.pack("<d", 2)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\n\r\n" + body
    capture = Capture()
    for _ in range(2):  # at two devices
        capture.packet(_packet(9090, answer) + b"padding", 7.0)
    capture.packet(_packet(8012, answer), 7.0)
    capture.packet(_packet(9090, b""), 7.0)
    assert capture.answers == [Scraped(at=7.0, pod="tiny-00001-abc", stat=Stat(concurrency=1.5, requests=2.0))]


def _packet(port: int, data: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", port, 40000, len(data), 0, 5 << 4, 0, 0, 0, 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, bytes(4), bytes(4))
    return ip + tcp + data


def _life(log: Sequence[str], **annotations: str) -> Life:
    route = Route(mode=Mode.PROXY, named=True, ready=True)
    first = Pass(at=_EPOCH + 2, ready=1, wanted=1, wished=-1)
    inputs: list[Input] = [Made(at=_EPOCH), Routed(at=_EPOCH + 1, route=route), first, *lines(log, _KEY)]
    given = {"target": "1", "target-utilization-percentage": "100", "target-burst-capacity": "-1", **annotations}
    return Life(settings_of({PREFIX + name: value for name, value in given.items()})).live(inputs)


def test_a_life_is_lived_again_from_what_was_logged() -> None:
    life = _life([_told(3.2, 2.5), *_tick(4.1, 2.5)])
    assert [(each.at, each.pods) for each in life.wanted] == [(_at(0), -1), (_at(4.1), 3)]
    assert (life.ticks, life.strayed, life.panicked) == ([_at(4.1)], [], [True])


def test_an_average_that_is_not_the_logged_one_has_strayed() -> None:
    life = _life([_told(3.2, 2.5), *_tick(4.1, 2.6)])
    assert len(life.strayed) == 1


def test_what_is_wanted_of_averages_that_strayed_is_compared_all_the_same() -> None:
    late = _life([_told(3.2, 2.5), *_tick(4.1, 4.5), *_tick(6.1, 2.5)])
    assert [each.pods for each in late.wanted] == [-1, 5]  # it panics: no fewer than at 4.1
    assert [line.partition(":")[0] for line in late.strayed] == [f"{_EPOCH + 4.1:.3f}"]


def test_an_answer_that_counted_a_little_later_counts_in_the_second_that_explains_the_averages() -> None:
    first = [Scraped(at=_EPOCH + 2.99, pod="tiny-00001-abc", stat=Stat(concurrency=4))]
    second = [Scraped(at=_EPOCH + 3.5, pod="tiny-00001-abc", stat=Stat())]
    asked = [Asked(at=_EPOCH + 2.98, pods=1), Asked(at=_EPOCH + 3.4, pods=1)]
    given = {"target": "1", "window": "6s", "target-burst-capacity": "0"}
    settings = settings_of({PREFIX + name: value for name, value in given.items()})
    born = Pass(at=_EPOCH + 2, ready=1, wanted=1, wished=-1)
    inputs: list[Input] = [Made(at=_EPOCH), born, *asked, *first, *second]
    same_second = Tick(at=_EPOCH + 4.1, averages=(4.0, 0.0), ready=1)
    assert likeliest(settings, [*inputs, same_second]).strayed == []
    two_seconds = Tick(at=_EPOCH + 4.1, averages=(2.0, 0.0), ready=1)
    assert likeliest(settings, [*inputs, two_seconds]).strayed == []
    neither = Tick(at=_EPOCH + 4.1, averages=(3.0, 0.0), ready=1)
    assert likeliest(settings, [*inputs, neither]).strayed != []


def test_a_message_near_the_end_of_a_second_counts_in_the_next_one_where_that_explains_the_averages() -> None:
    given = {"target": "1", "window": "6s", "target-utilization-percentage": "100", "target-burst-capacity": "-1"}
    settings = settings_of({PREFIX + name: value for name, value in given.items()})
    born = Pass(at=_EPOCH + 2, ready=1, wanted=1, wished=-1)
    early, late = (Told(at=_EPOCH + at, stat=Stat(concurrency=4)) for at in (3.3, 3.6))
    in_the_next = Tick(at=_EPOCH + 4.5, averages=(4.0, 4.0), ready=1)
    inputs: list[Input] = [Made(at=_EPOCH), born, early, late, in_the_next]
    assert likeliest(settings, inputs).strayed == []
    in_none = Tick(at=_EPOCH + 4.5, averages=(3.0, 3.0), ready=1)
    assert likeliest(settings, [*inputs[:-1], in_none]).strayed != []
    long_before = Told(at=_EPOCH + 3.4, stat=Stat(concurrency=4))
    assert likeliest(settings, [*inputs[:3], long_before, in_the_next]).strayed != []


def test_what_the_running_one_wants_is_what_its_controller_says_at_each_pass() -> None:
    said = [Pass(at=at, ready=1, wanted=wanted, wished=0) for at, wanted in ((1, -1), (2, 3), (3, 3), (4, -1), (5, 0))]
    # Once it knows it forgets it no more: a restarted autoscaler says -1 and leaves in the status what stands there.
    assert wanted_by(said) == [Wanted(at=1, pods=-1), Wanted(at=2, pods=3), Wanted(at=5, pods=0)]


def test_minds_may_differ_for_no_longer_than_a_tick() -> None:
    ours = [Wanted(at=0, pods=1), Wanted(at=10, pods=3)]
    assert not apart(ours, [Wanted(at=0, pods=1), Wanted(at=11.9, pods=3)], [9, 11])
    assert apart(ours, [Wanted(at=0, pods=1), Wanted(at=12.1, pods=3)], [9, 11])
    assert apart(ours, [Wanted(at=0, pods=1)], [9, 11])
    assert apart(ours, [Wanted(at=0, pods=1), Wanted(at=5, pods=2), Wanted(at=5.5, pods=1), *ours[1:]], [9, 11])
    assert apart(ours, [], [9, 11])


def test_what_a_slow_controller_never_came_to_say_counts_for_neither() -> None:
    ours = [Wanted(at=0, pods=5), Wanted(at=8, pods=4), Wanted(at=10, pods=3)]
    theirs = [Wanted(at=0, pods=5), Wanted(at=10.2, pods=3)]
    ticks = [6, 8, 10, 12]
    assert apart(ours, theirs, ticks, passes=[6.1, 10.1]) == []
    assert apart(ours, theirs, ticks, passes=[6.1, 8.1, 10.1])
    assert apart(ours, theirs, ticks, passes=[6.1])
