"""What the API server needs of others and does not do itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsWanted:
    namespace: str
    pod: str
    uid: str
    container: str
    life: int  # how often it had been started before
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    most_bytes: int | None = None


class Logs(Protocol):
    """Of containers: whoever runs them has their output."""

    def lines(self, wanted: LogsWanted) -> AsyncIterator[bytes]:
        """As they come, until the end or, where they are followed, the container's. Of what is not kept there are none.

        Iterated on the event loop, so it does not block.
        """
        ...
