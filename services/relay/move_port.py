"""The port that movers and other relays come to, which no function's client reaches: who comes shows the secret.

Composed in `process`, where there is a secret. `POST /migrate` sends all that runs here to another relay, and answers
when each generation has gone, has ended, or stays; `POST /generations` is how that relay is reached; `GET /generations`
says what runs. The target is dialled here, on the mover's thread, so that no generation waits for a target that is
away; and before anything else, so that one that is away changes nothing here.
"""

import hmac
import json
import threading
import time
from http import HTTPStatus
from queue import Empty
from typing import Any, Final

from knative_mig.adapters.bounded_http import READ_WITHIN_S, BoundedHandler, BoundedServer, NotRead
from knative_mig.core.errors import BadInput
from services.relay.arrival import Arrival, Reports
from services.relay.conversation import Order
from services.relay.desk import Desk, Guest
from services.relay.dialling import DIALLED_BY, PROTOCOL, Dialled, dialled
from services.relay.engine_call import Address
from services.relay.source_words import Moved

_LARGEST: Final = 4096  # bytes of a mover's request
_MOVES_WITHIN_S: Final = 120.0
_JSON: Final = "application/json"


class MovePort(BoundedServer):
    def __init__(self, host: str, port: int, desk: Desk, *, secret: str, at_most: int) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.desk = desk
        self.secret = secret
        self.moving = threading.Lock()  # one mover after the other: a new leader asks what the old one has asked


class _Handler(BoundedHandler):
    server: MovePort
    allowed = "GET, POST"
    only_allowed = "this is asked by GET or POST"

    def do_GET(self) -> None:  # noqa: N802  http.server looks for this name
        if self._is_known() and self._is_at("/generations"):
            told = [_told(guest) for guest in self.server.desk.guests()]
            self.answer(HTTPStatus.OK, json.dumps({"generations": told}).encode(), _JSON)

    def do_POST(self) -> None:  # noqa: N802  http.server looks for this name
        body = self.read_body(_LARGEST)
        if isinstance(body, NotRead):
            self.refuse(body.status, body.reason)
        elif self._is_known() and self._is_at("/generations", "/migrate"):
            if self.path == "/migrate":
                with self.server.moving:
                    self._migrate(body)
            else:
                self._arrive()

    def _is_known(self) -> bool:
        """Else it is answered."""
        shown = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if hmac.compare_digest(shown, f"Bearer {self.server.secret}".encode()):
            return True
        self.close_connection = True
        self.refuse(HTTPStatus.UNAUTHORIZED, "the namespace's secret is asked for")
        return False

    def _is_at(self, *paths: str) -> bool:
        """Else it is answered."""
        if self.path not in paths:
            self.refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        return self.path in paths

    # -- from here -----------------------------------------------------------------------------------------------------

    def _migrate(self, body: bytes) -> None:
        desk = self.server.desk
        try:
            target = _target(body)
        except BadInput as error:
            self.refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        try:
            links = self._dialled(target, max(1, sum(guest.conversation is not None for guest in desk.guests())))
        except OSError as error:
            self.refuse(HTTPStatus.BAD_GATEWAY, f"{target} cannot be reached: {error}")
            return
        desk.start_leaving()
        moves = [(guest, self._move(guest, target, links)) for guest in desk.guests()]
        for spare in links:
            spare.link.close()
        deadline = time.monotonic() + _MOVES_WITHIN_S
        told = [{**_told(guest), **_outcome(guest, move, deadline)} for guest, move in moves]
        self.answer(HTTPStatus.OK, json.dumps({"generations": told}).encode(), _JSON)

    def _dialled(self, target: Address, count: int) -> list[Dialled]:
        """A link for each generation whose client is here. OSError: it is away, or takes nothing."""
        links: list[Dialled] = []
        try:
            while len(links) < count:
                links.append(self._dial(target))
        except OSError:
            for each in links:
                each.link.close()
            raise
        return links

    def _dial(self, target: Address) -> Dialled:
        return dialled(target, self.server.secret, self.server.desk.id)

    def _move(self, guest: Guest, target: Address, links: list[Dialled]) -> "Order | Reports | str":
        """What comes of it, or why nothing does."""
        if guest.arrival is not None:
            return guest.arrival.move(f"http://{target}{target.path}")
        if guest.conversation is None:
            return guest.why_not
        try:
            order = Order(dialled=links.pop() if links else self._dial(target))
        except OSError as error:  # of one that came meanwhile
            return f"{target} cannot be reached: {error}"
        guest.conversation.move(order)
        return order

    # -- to here -------------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        self.close_connection = True
        if self.headers.get("Upgrade") != PROTOCOL:
            self.refuse(HTTPStatus.UPGRADE_REQUIRED, f"this is reached by {PROTOCOL}")
            return
        desk = self.server.desk
        if self.headers.get(DIALLED_BY) == desk.id:
            self.refuse(HTTPStatus.CONFLICT, "this is the relay that it comes from")
            return
        guest = Guest(why_not="it has just come here")
        if not desk.arrive(guest):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this replica is leaving itself")
            return
        with desk.left_after(guest):
            self.connection.settimeout(READ_WITHIN_S)
            self.wfile.write(
                f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {PROTOCOL}\r\nConnection: Upgrade\r\n\r\n".encode()
            )
            guest.arrival = Arrival(self.connection, engine=desk.engine, traits=desk.traits)
            guest.arrival.run()


def _told(guest: Guest) -> dict[str, Any]:
    conversation, arrival = guest.conversation, guest.arrival
    if arrival is not None:
        return {"id": arrival.id, "input_tokens": None, "output_tokens": arrival.output_tokens, "stays": ""}
    if conversation is None:
        return {"id": "", "input_tokens": None, "output_tokens": None, "stays": guest.why_not}
    tokens = {"input_tokens": conversation.input_tokens, "output_tokens": conversation.output_tokens}
    return {"id": conversation.id, **tokens, "stays": ""}


def _outcome(guest: Guest, move: "Order | Reports | str", deadline: float) -> dict[str, Any]:
    if isinstance(move, str):
        return {"moved": False, "why": move}
    reports = move.reports if isinstance(move, Order) else move
    try:
        report = reports.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        why = f"it takes longer than {_MOVES_WITHIN_S:g} s"
        _withdraw(guest, move, why)
        return {"moved": False, "why": why}
    return {"moved": True, "why": ""} if isinstance(report, Moved) else {"moved": False, "why": report.why}


def _withdraw(guest: Guest, move: "Order | Reports", why: str) -> None:
    """So that another relay may be tried."""
    if isinstance(move, Order):
        if guest.conversation is not None:
            guest.conversation.withdraw(move, why)
    elif guest.arrival is not None:
        guest.arrival.withdraw(move)


def _target(body: bytes) -> Address:
    """BadInput."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("a move is asked for by a JSON object") from None
    if not (isinstance(asked, dict) and asked.keys() == {"to"} and isinstance(asked["to"], str)):
        raise BadInput('a move is asked for by {"to": "http://address:port"}')
    return Address.of(asked["to"])
