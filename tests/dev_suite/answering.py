"""A function for tests: `python answering.py`. It says ANSWER to a GET, and what it got of anything else.

It imports little, for a start is what many tests wait for. Its log has a line for each request.
"""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note()
        if self.path.startswith("/slow/"):
            time.sleep(float(self.path.removeprefix("/slow/")))
        self._say(f"{os.environ.get('ANSWER', 'hello')}\n")

    def do_POST(self) -> None:
        self._note()
        left = length = int(self.headers.get("Content-Length") or 0)
        kept = b""
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
            kept = (kept + piece)[:64]
        self._say(f"{length - left} bytes that begin with {kept[:8].hex()}\n")

    def _note(self) -> None:
        event = self.headers.get("ce-type")
        told = f" event {event} {self.headers['ce-id']}" if event else ""
        print(f"{self.command} {self.path}{told}", flush=True)

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """What is said above is enough."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # as many may come at once; five is what it is without


if __name__ == "__main__":
    server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))), Answering)
    print(f"begins on {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()
