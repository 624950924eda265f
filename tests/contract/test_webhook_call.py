"""Reviews over TLS, between the caller that `dev` has and the webhook server that clusters call."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from knative_mig.adapters import certificates
from knative_mig.adapters.admission import Webhook
from knative_mig.adapters.certificates import AUTHORITIES, SERVER, SERVER_KEY
from knative_mig.adapters.webhook_call import WebhookCaller, WebhookFailed
from knative_mig.adapters.webhook_server import WebhookServer
from knative_mig.core.admission.renewal import Step, next_step
from knative_mig.core.errors import BadInput
from tests.rigs.running_dev import until

NAME = "webhook.knative-mig.svc"


def made() -> dict[str, bytes]:
    """A webhook's own authority, and its certificate."""
    now, files = time.time(), dict[str, bytes]()
    while (step := next_step(certificates.held(files, (NAME,)), now)) is not Step.KEEP:
        files = dict(certificates.after(step, files, (NAME,), now))
    return files


@contextmanager
def serving(files: dict[str, bytes], port: int = 0) -> Iterator[WebhookServer]:
    def answer(path: Webhook, body: bytes) -> bytes:
        if body == b"bad":
            raise BadInput("no review")
        return path.encode() + b" " + body

    server = WebhookServer("127.0.0.1", port, answer)
    server.identify(files[SERVER], files[SERVER_KEY])
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        until(lambda: not server._open, within_s=5.0)
        thread.join()


@pytest.mark.parametrize("end", ["told to end", "killed"])
def test_a_webhook_is_asked_in_its_services_name_and_again_when_it_was_started_anew(end: str) -> None:
    files = made()
    with serving(files) as server:
        port = server.server_port
        caller = WebhookCaller(("127.0.0.1", port), NAME)

        def ask(body: bytes = b"{}") -> bytes:
            return caller.ask("/mutate", body, authorities=files[AUTHORITIES].decode(), within_s=5.0)

        assert ask() == ask() == b"/mutate {}"
        with pytest.raises(WebhookFailed, match="400: no review"):
            ask(b"bad")
        assert ask() == b"/mutate {}"
        (kept,) = server._open.values()
        open_still = os.dup(kept.fileno())  # what TLS says of its end comes some time before the kernel says so
        if end == "killed":
            socket.socket.shutdown(kept, socket.SHUT_RDWR)  # of that TLS says nothing
    with pytest.raises(WebhookFailed) as refused:
        ask()
    at = f'failed to call webhook: Post "https://{NAME}:443/mutate?timeout=5s"'
    assert str(refused.value) == f"{at}: dial tcp 127.0.0.1:{port}: connect: connection refused"
    os.close(open_still)
    with serving(files, port):
        assert ask() == b"/mutate {}"
        caller.close()


def test_who_is_not_believed_is_not_asked() -> None:
    files, others = made(), made()
    with serving(files) as server:
        caller = WebhookCaller(("127.0.0.1", server.server_port), NAME)
        for authorities in ("", others[AUTHORITIES].decode()):
            with pytest.raises(WebhookFailed, match=r"whom to believe|verify failed"):
                caller.ask("/mutate", b"{}", authorities=authorities, within_s=5.0)
        stranger = WebhookCaller(("127.0.0.1", server.server_port), "other.knative-mig.svc")
        with pytest.raises(WebhookFailed, match="verify failed"):
            stranger.ask("/mutate", b"{}", authorities=files[AUTHORITIES].decode(), within_s=5.0)


def test_a_webhook_that_does_not_answer_is_told_of_as_an_api_server_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        caller = WebhookCaller(deaf.getsockname(), NAME)
        with pytest.raises(WebhookFailed) as failed:
            caller.ask("/mutate", b"{}", authorities=made()[AUTHORITIES].decode(), within_s=0.1)
    asked = f'Post "https://{NAME}:443/mutate?timeout=1s"'
    assert str(failed.value) == f"failed to call webhook: {asked}: context deadline exceeded"
