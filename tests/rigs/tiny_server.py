"""The tiny model's server on a port of its own, in the test's process, and a client that speaks to it by raw socket."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from services.tiny_llm import safetensors
from services.tiny_llm.capacity import Slice
from services.tiny_llm.process import TinyLlm
from services.tiny_llm.settings import Settings
from tests.rigs.tiny_models import SMALL, random_parameters

PATIENCE_S = 60.0


@contextmanager
def served(folder: Path, **changes: Any) -> Iterator[TinyLlm]:
    """With weights that know nothing and are quick, unless others are given."""
    weights = folder / "small.safetensors"
    safetensors.write(weights, random_parameters(), SMALL.metadata())
    settings = replace(Settings(host="127.0.0.1", port=0, weights=weights, slice=Slice()), **changes)
    server = TinyLlm(settings)
    server.start()
    try:
        yield server
    finally:
        server.end()
        assert not server.failed


class Client:
    """One connection."""

    def __init__(self, server: TinyLlm) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.http.port), timeout=PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, method: str, path: str, body: object = None, headers: str = "") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
        self.socket.sendall(head.encode() + data)

    def head(self) -> tuple[int, dict[str, str]]:
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers

    def whole(self) -> tuple[int, dict[str, str], Any]:
        """An answer with a length: its body as JSON, where it is."""
        status, headers = self.head()
        body = self.file.read(int(headers["content-length"]))
        return status, headers, json.loads(body) if headers.get("content-type") == "application/json" else body

    def call(self, method: str, path: str, body: object = None, headers: str = "") -> tuple[int, dict[str, str], Any]:
        self.send(method, path, body, headers)
        return self.whole()

    def pieces(self) -> Iterator[bytes]:
        """Of a chunked body, as the server sent them."""
        while size := int(self.file.readline(), 16):
            yield self.file.read(size)
            self.file.readline()
        self.file.readline()

    def events(self) -> Iterator[Any]:
        """Of a stream: each `data:` as JSON, and `[DONE]` as it is."""
        for piece in self.pieces():
            assert piece.startswith(b"data: ")
            assert piece.endswith(b"\n\n")
            text = piece.removeprefix(b"data: ").strip()
            yield text.decode() if text == b"[DONE]" else json.loads(text)


def asks(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny-llm", "prompt": "Once", "seed": 1, "max_tokens": 8, "ignore_eos": True, **changes}


def chats(text: str = "Hello!", **changes: Any) -> dict[str, Any]:
    return {"model": "tiny-llm", "messages": [{"role": "user", "content": text}], "seed": 1, "max_tokens": 8, **changes}
