"""What its user has told `dev` by signals: to end, and once more, to wait for nobody.

Made by the verb, before what takes long to import; asked by `process` again and again. The subtle thing is that these
are plain values: an Event that a handler sets, while the main thread is about to wait for that same Event, waits for
itself.
"""

import signal
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_BY_A_SIGNAL: Final = 128  # and the signal's number: what a shell says of who was ended by one


class Told:
    def __init__(self) -> None:
        self._came: list[int] = []

    def listen(self) -> None:
        """In the main thread."""
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, lambda number, _: self._came.append(number))

    @property
    def to_end(self) -> bool:
        return bool(self._came)

    @property
    def to_hurry(self) -> bool:
        return len(self._came) > 1

    @property
    def exit_code(self) -> int:
        """Of who was to end before there was anything to be ended."""
        return _BY_A_SIGNAL + self._came[0] if self._came else 0
