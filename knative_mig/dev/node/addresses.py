"""Gives each pod of a node an address of its own on the loopback interface, where Linux lets anybody bind any.

Called by `kubelet`. A node has 127.64.N.0/24. The subtle thing is who else is there: another `dev` on this machine, of
anybody, gives the same to its own pods, which listen only a while later. So whoever gives an address holds a name that
the kernel lets one process have, and takes back when that ends; and takes none on which somebody listens already.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final, Protocol

LAST: Final = 254


class NoAddress(Exception):
    """All are taken."""


class Held(Protocol):
    def close(self) -> None: ...


def hold(address: str) -> Held | None:
    """None: somebody else has it. It is the name of an abstract socket: of the same network, and no file."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0knative-mig-dev/{address}")
    except OSError:
        held.close()
        return None
    return held


def can_bind(address: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class Addresses:
    def __init__(
        self,
        node: int,
        *,
        hold: Callable[[str], Held | None] = hold,
        is_free: Callable[[str, int], bool] = can_bind,
    ) -> None:
        """`node`: its number, from 0 to 255."""
        self.network = f"127.64.{node}.0/24"
        self._node, self._hold, self._is_free = node, hold, is_free
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[str, Held]] = {}  # by whom
        self._next = 1

    def take(self, uid: str, port: int) -> str:
        """The same one for a pod that has one. NoAddress; OSError: there is no file left to hold it by. One that comes
        free is the last to be given again.
        """
        with self._lock:
            for address, (owner, _) in self._taken.items():
                if owner == uid:
                    return address
            address, held = self._found(port)
            self._taken[address] = uid, held
            self._next = int(address.rpartition(".")[2]) % LAST + 1
            return address

    def _found(self, port: int) -> tuple[str, Held]:
        first: tuple[str, Held] | None = None
        with ExitStack() as not_taken:
            for address in self._in_turn():
                held = self._hold(address) if address not in self._taken else None
                if held is None:
                    continue
                with ExitStack() as this:
                    this.callback(held.close)
                    if self._is_free(address, port):
                        this.pop_all()
                        return address, held
                    if first is None:
                        first = address, held
                        not_taken.push(this.pop_all())
            if first is None:
                raise NoAddress(f"all addresses of {self.network} are taken")
            not_taken.pop_all()
        return first  # where nothing can be bound anywhere somebody listens on all: the program will say so itself

    def give_back(self, uid: str) -> None:
        with self._lock:
            for address, (owner, held) in list(self._taken.items()):
                if owner == uid:
                    held.close()
                    del self._taken[address]

    def _in_turn(self) -> list[str]:
        return [f"127.64.{self._node}.{(self._next - 1 + at) % LAST + 1}" for at in range(LAST)]
