"""Gives each pod of a node an address of its own on the loopback interface, where Linux lets anybody bind any.

Called by `kubelet`. A node has 127.64.N.0/24. The subtle thing is who else is there: another `dev` on this machine may
have the same, so an address is taken only where the pod's port can be bound on it now.
"""

import socket
import threading
from collections.abc import Callable
from typing import Final

LAST: Final = 254


class NoAddress(Exception):
    """All are taken."""


def can_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class Addresses:
    def __init__(self, node: int, *, is_free: Callable[[str, int], bool] = can_bind) -> None:
        """`node`: its number, from 0 to 255."""
        self.network = f"127.64.{node}.0/24"
        self._node, self._is_free = node, is_free
        self._lock = threading.Lock()
        self._taken: dict[str, str] = {}  # by whom
        self._next = 1

    def take(self, uid: str, port: int) -> str:
        """The same one for a pod that has one. NoAddress. One that comes free is the last to be given again."""
        with self._lock:
            for address, owner in self._taken.items():
                if owner == uid:
                    return address
            free = [address for address in self._in_turn() if address not in self._taken]
            # Where nothing can be bound anywhere somebody listens on all addresses: the program will say so itself.
            if not free:
                raise NoAddress(f"all addresses of {self.network} are taken")
            address = next((each for each in free if self._is_free(each, port)), free[0])
            self._taken[address] = uid
            self._next = int(address.rpartition(".")[2]) % LAST + 1
            return address

    def give_back(self, uid: str) -> None:
        with self._lock:
            self._taken = {address: owner for address, owner in self._taken.items() if owner != uid}

    def _in_turn(self) -> list[str]:
        return [f"127.64.{self._node}.{(self._next - 1 + at) % LAST + 1}" for at in range(LAST)]
