"""What every process of ours is told, how it begins to log, and how it ends: when told to, with an exit code, at once.

Called by a process's `__main__` and its `process.run`. The subtle thing is the end: threads that wait in a driver, for
a kubelet or for an API server that is away would hold up an ordinary exit, so what has been said is flushed and the
process is gone.
"""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol, TypeVar

import click

from knative_mig.adapters.kube import IN_CLUSTER
from knative_mig.core.errors import BadInput, KnativeMigError

F = TypeVar("F", bound=Callable[..., Any])
_TO_END: Final = (signal.SIGTERM, signal.SIGINT)
_AT_ONCE: Final = 64
MOST_SECONDS: Final = 1e9  # some thirty years: beyond it the system knows no such wait


class Process(Protocol):
    stop: threading.Event

    @property
    def failed(self) -> str:
        """Which thread did, and so set `stop`."""

    def start(self) -> None: ...

    def end(self) -> None: ...


class Number(click.FloatRange):
    """An option's type: a number of that range. To click `nan` is in any.

    A subclass, for that is how click is told of a type that also says its range in --help.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} is no number: legal is {self._describe_range()}.", param, ctx)
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


class Whole(click.IntRange):
    """An option's type: a whole number of that range, and as click is told of it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            int(value)
        except ValueError:
            self.fail(f"{value!r} is no whole number: legal is {self._describe_range()}.", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number


def duration(least: float = 0.0, *, zero: bool = False) -> Number:
    """An option's type: what can be waited for."""
    return Number(min=least, max=MOST_SECONDS, min_open=not (least or zero))


SECONDS: Final = duration()


def common_options(*, ops_port: int) -> Callable[[F], F]:
    """Where the API server is, where probes come to, and how much is logged: the options of every process."""
    options = (
        click.option("--kubeconfig", default=IN_CLUSTER, show_default=True, help="A file, or in-cluster."),
        click.option("--context", default=None, help="Of the kubeconfig."),
        click.option("--ops-port", type=click.IntRange(0, 65535), default=ops_port, show_default=True),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True),
    )

    def decorated(command: F) -> F:
        for option in reversed(options):  # the last that is put on is the first of --help
            command = option(command)
        return command

    return decorated


def run_until_told(process: Process) -> int:
    """Until SIGTERM or SIGINT, or until a thread of it fails; the exit code."""
    when_told(process.stop.set)
    process.start()
    process.stop.wait()
    process.end()
    return 1 if process.failed else 0


def when_told(tell: Callable[[], None]) -> None:
    """`tell` is called once, on a thread of its own, when SIGTERM or SIGINT comes; to be called by the main thread.

    Not by the signal's handler. That runs in the midst of whatever the main thread is doing, be it the handler of a
    signal before, and would wait for a lock that it interrupts the holder of: who is told twice at once would hang.
    And it runs only when the main thread comes by, which one that waits in a driver does not.
    """
    hears, heard = os.pipe()
    os.set_blocking(heard, False)
    signal.set_wakeup_fd(heard, warn_on_full_buffer=False)  # a byte for each signal, its number
    for number in _TO_END:
        signal.signal(number, lambda *_: None)

    def listen() -> None:
        while not any(number in _TO_END for number in os.read(hears, _AT_ONCE)):
            pass
        tell()

    threading.Thread(target=listen, name="told", daemon=True).start()


def run_program(who: str, body: Callable[[], int], *, log_level: str) -> NoReturn:
    """Ends with what `body` answers, with 2 for bad input, and with 1 where it failed for a reason that has a name."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code = body()
    except (KnativeMigError, OSError) as error:
        sys.stderr.write(f"{who}: {error}\n")
        code = 2 if isinstance(error, BadInput) else 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
