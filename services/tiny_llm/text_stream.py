"""Tokens as the text that a client may have already: whole characters, and nothing that may turn out to be a stop.

One for each generation, fed by `engine`. A token is a byte, so that a character may be late; and what could be the
beginning of a stop string is held back until it is one, or is not. Bytes that are no UTF-8 become U+FFFD.
"""

import codecs
from collections.abc import Sequence

from services.tiny_llm.tokenizer import bytes_of


class TextStream:
    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False  # a stop string has come: it and what follows are nobody's

    def feed(self, token: int) -> str:
        """What may go out because of it."""
        return self._out(self._decoder.decode(bytes_of([token])))

    def finish(self) -> str:
        """The rest. Half a stop string is text after all."""
        text = self._out(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _out(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        places = [place for place in (self._held.find(stop) for stop in self._stops) if place >= 0]
        if places:
            out, self._held, self.stopped = self._held[: min(places)], "", True
            return out
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end may be the beginning of the stop string."""
    return next(n for n in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:n]))
