"""Ports that stay a test's own until the processes that are told of them listen there.

A port that is only looked for may be anybody's by then: another test's server, or a connection of this one.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def kept_ports(count: int) -> Iterator[list[int]]:
    """Of all of this host's addresses; nobody answers there. Who sets SO_REUSEADDR may listen there."""
    with ExitStack() as held:
        yield [_kept(held.enter_context(socket.socket())) for _ in range(count)]


def _kept(port: socket.socket) -> int:
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("", 0))
    return int(port.getsockname()[1])
