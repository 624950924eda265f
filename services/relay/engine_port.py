"""The port that the engine is told to listen on, and whether it does.

Called by `process`. Between the choice and the engine's own bind lie seconds, in which nobody can keep the port for it,
as an engine may be one that does not share. The subtle thing is where the port lies: below those that Linux gives to
connections and to servers that ask for any, and for each process elsewhere, so that on a host with many relays, as with
`dev`, none is taken by chance meanwhile.
"""

import errno
import os
import socket
from pathlib import Path
from typing import Final

_LEAST: Final = 20_000
_COUNT: Final = 10_000
_APART: Final = 7  # so that who finds its first one taken does not take its neighbour's


def own_number() -> int:
    """On its host, where the first process of a container is not the only one that is a first."""
    return os.getpid() + Path("/proc/self/ns/pid").stat().st_ino


def free_port(process: int) -> int:
    """Of this host, for what the process with this number starts next. OSError: there is none."""
    for at in range(_COUNT):
        port = _LEAST + (process * _APART + at) % _COUNT
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
