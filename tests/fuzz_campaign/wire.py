"""One connection to a door, and what comes back on it: HTTP/1.1 as strictly as the doors should write it.

Used by `campaign`. Nothing of the client libraries is in between: they would not send what is not HTTP, and would mend
what is not quite an answer.
"""

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.fuzz_campaign.draft import Sent

PATIENCE_S: Final = 60.0  # a door answers within milliseconds; beside other work it may have no core for long
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+")
_HEADER: Final = re.compile(rb"([A-Za-z-]+): ([ -~]*)")
_LARGEST: Final = 16 * 1024 * 1024


class NotAnAnswer(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    closes: bool


class Wire:
    def __init__(self, port: int, context: ssl.SSLContext | None, name: str) -> None:
        self._port, self._context, self._name = port, context, name
        self._socket: socket.socket | None = None
        self._held = b""
        self.connections = 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._held = b""

    def send(self, parcel: Sequence[Sent]) -> list[Answer]:
        """The answers to all of it; fewer where the door closed. NotAnAnswer, OSError: what comes is none."""
        if self._held:
            raise NotAnAnswer(f"something came that nobody asked for: {self._held[:200]!r}")
        connection = self._socket or self._connected()
        framed = all(each.framed for each in parcel)
        try:
            connection.sendall(b"".join(each.data for each in parcel))
            if not framed:
                socket.socket.shutdown(connection, socket.SHUT_WR)
        except OSError:
            # It may be refused by its first bytes, and the door gone; what it said is still there to be read.
            if framed:
                raise
        answers: list[Answer] = []
        try:
            while not framed or len(answers) < len(parcel):
                bodiless = parcel[min(len(answers), len(parcel) - 1)].bodiless
                answer = self._answer(bodiless=bodiless)
                if answer is None:
                    break
                answers.append(answer)
                if answer.closes:
                    break
        except (ConnectionError, ssl.SSLError):
            # Half a connection is none to TLS: a door that reads on meets its end, and says so instead of an answer.
            if framed:
                raise
        if not framed or not answers or answers[-1].closes:
            self.close()
        return answers

    def _connected(self) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self._context.wrap_socket(raw, server_hostname=self._name) if self._context else raw
        self.connections += 1
        return self._socket

    def _more(self) -> bool:
        assert self._socket is not None
        piece = self._socket.recv(65_536)
        self._held += piece
        if len(self._held) > _LARGEST:
            raise NotAnAnswer("an answer without an end")
        return bool(piece)

    def _answer(self, *, bodiless: bool) -> Answer | None:
        """None: the door has closed before one began."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                if self._held:
                    raise NotAnAnswer(f"an answer breaks off: {self._held[:200]!r}")
                return None
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        headers = [_HEADER.fullmatch(line) for line in lines]
        if status is None or not all(headers):
            raise NotAnAnswer(f"no head of an answer: {head[:200]!r}")
        if status[1] == b"100":
            return self._answer(bodiless=bodiless)
        named = {each[1].lower(): each[2] for each in headers if each}
        length = named.get(b"content-length", b"")
        if len(named) < len(headers) or not length.isdigit():
            raise NotAnAnswer(f"an answer of no length, or of two: {head[:200]!r}")
        size = 0 if bodiless else int(length)
        while len(self._held) < size:
            if not self._more():
                raise NotAnAnswer(f"an answer breaks off after {len(self._held)} of {size} bytes")
        body, self._held = self._held[:size], self._held[size:]
        return Answer(status=int(status[1]), body=body, closes=named.get(b"connection") == b"close")
