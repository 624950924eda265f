"""A CloudEvent with a prompt in, a CloudEvent with its completion out.

Called by `http_server` for what is posted to `/`. The data are what a client would send to `/v1/completions`, or with
messages to `/v1/chat/completions`; the model need not be named. The reply's id is made of the event's, so that an event
that comes twice has one reply that came twice; and a reply is no request, so that a trigger that matches it starts no
circle.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.cloud_events import decode, encode
from knative_mig.core.events import Event, Rejected
from services.tiny_llm.api_error import ApiError, bad, missing
from services.tiny_llm.openai_request import Kind, Request, Server, request_of

FINISHED: Final = "dev.knative-mig.completion.finished.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedByEvent:
    event: Event
    request: Request
    model: str


def asked_by(headers: Iterable[tuple[str, str]], body: bytes, server: Server) -> AskedByEvent:
    """ApiError: it is no event, or none that asks for a completion."""
    event = decode(headers, body)
    if isinstance(event, Rejected):
        raise ApiError(event.status, f"This is no event: {event.reason}.")
    kind = Kind.CHAT if "messages" in event.data else Kind.COMPLETION
    if kind is Kind.COMPLETION and "prompt" not in event.data:
        raise missing("prompt")
    try:
        request = request_of(kind, {"model": server.model, **event.data}, server)
    except ApiError as error:
        # A Broker repeats a 404, and the event would be no better.
        raise ApiError(400, str(error), param=error.param, code=error.code) from None
    if request.streamed:
        raise bad("An event has one reply: 'stream' is not supported.", "stream")
    return AskedByEvent(event=event, request=request, model=server.model)


def reply(asked: AskedByEvent, completion: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and body, in binary mode."""
    event = asked.event
    identity = hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()
    return encode(
        Event(
            source=f"/models/{asked.model}",
            id=identity[:32],
            type=FINISHED,
            subject=event.subject,
            extensions={"traceparent": event.traceparent} if event.traceparent else {},
            data=completion,
        )
    )
