"""What functions' pods answer the autoscaler that asks them, read off the network of the autoscaler's node.

Knative's autoscaler keeps no record of it, and whoever asked the pods a moment later would hear of another second. The
answers are short, so each is one packet, and nothing has to be put together. A packet is seen at each device that it
passes, and counts once. The kernel picks the packets and writes their times, as this process may have to wait for its
turn just when there is most to see.
"""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.kpa.stats import Stat
from tests.cluster.testbed.network import network_namespace

_EVERY_PROTOCOL: Final = 0x0003
_NETWORK_NAMESPACE: Final = 0x40000000
_TCP: Final = 6
_QUEUE_METRICS_PORT: Final = 9090
_LOOK_UP_S: Final = 0.2
_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER, which Python's socket module has no name for; likewise the next
_TIMESTAMP: Final = 35  # SO_TIMESTAMPNS
# For the kernel: of what is TCP and comes from that port, everything; else nothing.
_FILTER: Final = (
    (0x30, 0, 0, 9),
    (0x15, 0, 4, _TCP),
    (0xB1, 0, 0, 0),
    (0x48, 0, 0, 0),
    (0x15, 0, 1, _QUEUE_METRICS_PORT),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """One pod's answer, when it arrived."""

    at: float
    pod: str
    stat: Stat


@dataclass(slots=True)
class Capture:
    answers: list[Scraped] = field(default_factory=list)
    _known: set[bytes] = field(default_factory=set)

    def packet(self, packet: bytes, at: float) -> None:
        """An IP packet of whatever kind."""
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != _TCP:
            return
        header = (packet[0] & 0xF) * 4
        if int.from_bytes(packet[header : header + 2]) != _QUEUE_METRICS_PORT:
            return
        length = int.from_bytes(packet[2:4])
        data = packet[header + (packet[header + 12] >> 4) * 4 : length]
        head, _, body = data.partition(b"\r\n\r\n")
        if b"application/protobuf" not in head:
            return
        known = packet[12:20] + packet[header : header + 8]  # addresses, ports, place in the stream
        if known not in self._known:
            self._known.add(known)
            pod, stat = stat_of(body)
            self.answers.append(Scraped(at=at, pod=pod, stat=stat))


@contextmanager
def captured(node: str) -> Iterator[Capture]:
    capture, over = Capture(), threading.Event()
    opened = _opened_in(network_namespace(node))
    program = b"".join(struct.pack("@HBBI", *each) for each in _FILTER)
    kept = ctypes.create_string_buffer(program)
    opened.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(_FILTER), ctypes.addressof(kept)))
    opened.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)
    opened.settimeout(_LOOK_UP_S)

    def listen() -> None:
        while not over.is_set():
            try:
                packet, [(_, _, stamp)], _, _ = opened.recvmsg(2048, 64)
            except TimeoutError:
                continue
            seconds, nanoseconds = struct.unpack("@ll", stamp)
            capture.packet(packet, seconds + nanoseconds / 1e9)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield capture
    finally:
        over.set()
        listener.join()
        opened.close()


def _opened_in(namespace: str) -> socket.socket:
    """A namespace is a thread's own, and a socket stays in the one that it was made in."""
    made: list[socket.socket] = []

    def enter() -> None:
        where = os.open(namespace, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(where, _NETWORK_NAMESPACE) == 0:
            made.append(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL)))
        os.close(where)

    entering = threading.Thread(target=enter)
    entering.start()
    entering.join()
    assert made, f"cannot listen in {namespace}"
    return made[0]


def stat_of(message: bytes) -> tuple[str, Stat]:
    """Knative's protobuf message Stat: a name, and five doubles of which those that are 0 are left out."""
    pod, numbers = "", dict.fromkeys(range(2, 8), 0.0)
    while message:
        field_number, kind = message[0] >> 3, message[0] & 7
        match kind:
            case 2:
                length = message[1]
                pod, message = message[2 : 2 + length].decode(), message[2 + length :]
            case 1:
                numbers[field_number], message = struct.unpack("<d", message[1:9])[0], message[9:]
            case _:
                raise ValueError(f"field {field_number} of a Stat is of kind {kind}")
    stat = Stat(
        concurrency=numbers[2],
        proxied_concurrency=numbers[3],
        requests=numbers[4],
        proxied_requests=numbers[5],
    )
    return pod, stat
