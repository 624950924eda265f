"""An engine that knows nothing but the time: the text of each token is when it was said, for who reads it to compare.

Started by `bench.moves` behind a relay, or without one, as `python -m bench.stamping_engine`. It goes on from tokens,
and takes as long for a warm-up as a big model would, so that a move of its generations has all that a move has.
"""

import json
import os
import time
from http import HTTPStatus
from typing import Any, Final

from knative_mig.adapters.bounded_http import BoundedHandler, BoundedServer, NotRead

TOKEN_S: Final = 0.01
WARM_S: Final = 0.3


class _Handler(BoundedHandler):
    def do_POST(self) -> None:  # noqa: N802  http.server looks for this name
        body = self.read_body(1 << 20)
        if isinstance(body, NotRead):
            self.refuse(body.status, body.reason)
            return
        asked = json.loads(body)
        said = len(asked.get("resume_token_ids", ()))
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.connection.settimeout(5.0)
        if asked.get("only_warms"):
            time.sleep(WARM_S)
            self._say(said, "length")
        else:
            due = time.monotonic()
            for token in range(said, asked["max_tokens"]):
                due += TOKEN_S
                time.sleep(max(0.0, due - time.monotonic()))
                self._say(token, "length" if token + 1 == asked["max_tokens"] else None)
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, token: int, finish: str | None) -> None:
        choice: dict[str, Any] = {"index": 0, "text": "", "logprobs": None, "finish_reason": finish}
        chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "stamps", "choices": [choice]}
        choice |= {"token_ids": [token], "text": str(time.monotonic_ns())}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


if __name__ == "__main__":
    BoundedServer("127.0.0.1", int(os.environ["PORT"]), _Handler, at_most=64).serve_forever()
