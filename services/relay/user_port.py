"""The port that the function's clients come to: each request is judged, and then relayed in one of two ways.

Composed in `process`; each connection is a thread of `bounded_http`. A generation that may move is a `Conversation`;
anything else is passed on as it is, and stays with its engine. What is asked of this replica itself and not of the
function (health, metrics) is answered here or not at all: another's answer would be a lie.
"""

import json
import secrets
import time
from http import HTTPStatus
from typing import Any, Final

from knative_mig.adapters.bounded_http import (
    READ_WITHIN_S,
    UPLOADED_WITHIN_S,
    BoundedHandler,
    BoundedServer,
    NotRead,
)
from services.openai_error import not_read, openai_error
from services.relay.client_end import ClientEnd
from services.relay.conversation import Asked, Conversation
from services.relay.desk import Desk, Guest
from services.relay.engine_call import SENT_ON, Address, request_bytes
from services.relay.passing import LEAVING, Passed, SentBack, hand_back, pass_on
from services.relay.replica import Where
from services.relay.resumable import PATHS, judged, seeded
from services.relay.wire import Wire

_LARGEST: Final = 32 * 1024 * 1024  # bytes of a body; a picture as text is some megabytes
_LARGEST_MOVED: Final = 4 * 1024 * 1024  # bytes of a body that goes over a link
_KNOWN_WITHIN_S: Final = 10.0  # that a replica leaves, by all who route to it
_ASKS_AGAIN_S: Final = 0.1
_JSON: Final = "application/json"
_OF_THE_REPLICA: Final = frozenset({"/health", "/ping", "/load", "/metrics", "/version"})


class UserPort(BoundedServer):
    def __init__(self, host: str, port: int, desk: Desk, *, at_most: int) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.desk = desk


class _Handler(BoundedHandler):
    server: UserPort
    uploaded_within_s = UPLOADED_WITHIN_S
    allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    only_allowed = "there is no such method"

    def _relay(self) -> None:
        body = self.read_body(_LARGEST)
        if isinstance(body, NotRead):
            self.refuse(body.status, body.reason)
            return
        desk, guest, asked = self.server.desk, Guest(), self._asked(body)
        match desk.where(guest, was_sent_on=SENT_ON in self.headers or self._is_of_the_replica):
            case Where.HERE:
                with desk.left_after(guest):
                    self._here(guest, body, asked)
            case Where.ELSEWHERE:
                assert desk.elsewhere is not None
                self._elsewhere(desk.elsewhere, body)
            case Where.NOWHERE:
                self._refuse_for_now("this replica is leaving", leaving=SENT_ON in self.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _relay  # noqa: N815

    def _here(self, guest: Guest, body: bytes, asked: Asked | str) -> None:
        desk = self.server.desk
        if not isinstance(asked, Asked):
            guest.why_not = asked
            if pass_on(self, desk.engine, self._request(desk.engine, body)) is not Passed.ANSWERED:
                self._refuse_for_now("the engine does not answer")
            return
        keeps = not (self.close_connection or self.server.is_crowded)
        client = ClientEnd(self.connection, chunked=self.request_version == "HTTP/1.1", keeps=keeps)
        conversation = Conversation(
            asked,
            client,
            engine=desk.engine,
            traits=desk.traits,
            elsewhere=desk.elsewhere,
            dial=desk.dial,
            needs_engine=lambda *, need: desk.need(guest, need=need),
        )
        guest.conversation = conversation
        has_all = conversation.run()
        self.connection.settimeout(READ_WITHIN_S)
        self.close_connection = self.close_connection or not keeps
        if (call := conversation.not_a_stream) is not None:
            with call.socket:
                hand_back(self, Wire(call.socket), call.answer, call.body)
        elif conversation.broke_because and not client.has_begun:
            self._refuse_for_now(conversation.broke_because)
        elif not has_all:
            self.close_connection = True

    def _elsewhere(self, address: Address, body: bytes) -> None:
        """Who routes may know later than a replica that it leaves, and sends it there for a moment: back here as a
        rule, or, after it was held for a while, to one that leaves in its turn.
        """
        request = self._request(address, body, sent_on=True)
        known_by: dict[str, float] = {}
        while isinstance(passed := pass_on(self, address, request), SentBack):
            now = time.monotonic()
            if now >= known_by.setdefault(passed.by, now + _KNOWN_WITHIN_S):
                break
            time.sleep(_ASKS_AGAIN_S)
        if passed is not Passed.ANSWERED:
            self._refuse_for_now("no other replica answers")

    def _asked(self, body: bytes) -> Asked | str:
        """Or why it stays with its engine, whatever that makes of it."""
        path = self.path.partition("?")[0]
        if self.command != "POST" or path not in PATHS:
            return "it is no generation"
        if len(body) > _LARGEST_MOVED:
            return "it is too long to be sent to another relay"
        read = _object(body)
        if read is None:
            return "it is no JSON object"
        traits = self.server.desk.traits
        verdict = judged(path, read, traits)
        if verdict.why_not:
            return verdict.why_not
        given = seeded(read, secrets.randbits(63), traits)
        return Asked(path=path, body=given, headers=tuple(self.headers.items()), verdict=verdict)

    @property
    def _is_of_the_replica(self) -> bool:
        """No other's answer would do."""
        return self.command in {"GET", "HEAD"} and self.path.partition("?")[0] in _OF_THE_REPLICA

    def _request(self, address: Address, body: bytes, *, sent_on: bool = False) -> bytes:
        return request_bytes(self.command, address, self.path, self.headers.items(), body, sent_on=sent_on)

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """In the words of the API."""
        self.answer_last(status, json.dumps(not_read(status, reason)).encode(), _JSON)

    def _refuse_for_now(self, why: str, *, leaving: bool = False) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        error = openai_error(status, f"The server is not there for this: {why}.")
        headers = {"Retry-After": "1", **({LEAVING: self.server.desk.id} if leaving else {})}
        self.answer_last(status, json.dumps(error).encode(), _JSON, headers)


def _object(body: bytes) -> dict[str, Any] | None:
    """As UTF-8 and nothing else, as engines read it."""
    try:
        read = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
