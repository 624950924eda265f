"""The whole webhook process over TLS, as an API server meets it: checked certificates, reviews, refusals, rotation."""

import base64
import json
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from activator_hooks.webhook.process import Webhook
from activator_hooks.webhook.settings import WebhookSettings
from knative_mig.adapters import bounded_http, certificates, webhook_server
from knative_mig.adapters.certificates import AUTHORITIES, FILES, SERVER, SERVER_KEY
from knative_mig.adapters.kube.kinds import CONFIG_MAP, SECRET
from knative_mig.adapters.kube.relay_secrets import KubeRelaySecrets
from knative_mig.adapters.kube.webhooks import CONFIGURATION, MUTATING, SECRET_NAME, VALIDATING
from knative_mig.adapters.webhook_server import LARGEST
from knative_mig.core.admission.renewal import Step
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GATE
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi
from tests.rigs.gpu_node_object import gpu_node_object
from tests.rigs.small_cluster import gpu, gpu_node
from tests.rigs.webhooks import HOST, Answer, Connection, function_pod, pod, review, service

SETTINGS = WebhookSettings(port=0, ops_port=0, look_every_s=0.05)
SECRET_KEY = Key("knative-mig", SECRET_NAME)
PATIENCE_S = 60.0


def configuration(kind: str, *names: str, bundle: str = "") -> dict[str, Any]:
    at = {"namespace": "knative-mig", "name": "webhook", "path": "/mutate", "port": 443}
    webhooks = [
        {"name": name, "clientConfig": {"service": at} | ({"caBundle": bundle} if bundle else {})} for name in names
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": CONFIGURATION},
        "webhooks": webhooks,
    }


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        about = {"namespace": "knative-mig", "name": SECRET_NAME, "labels": {"app.kubernetes.io/name": "knative-mig"}}
        api.put_object({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": about})
        put_configurations(api)
        defaults = {"namespace": "knative-serving", "name": "config-defaults"}
        data = {"_example": "many lines", "max-revision-timeout-seconds": "3600"}
        api.put_object({"apiVersion": "v1", "kind": "ConfigMap", "metadata": defaults, "data": data})
        api.put_object(gpu_node_object(gpu_node("n1", gpu("GPU-1", {}))))
        yield api


def put_configurations(api: FakeApi, bundle: str = "") -> None:
    api.put_object(configuration(MUTATING.kind, "functions.knative-mig.dev", "pods.knative-mig.dev", bundle=bundle))
    api.put_object(configuration(VALIDATING.kind, "functions.knative-mig.dev", bundle=bundle))


@contextmanager
def serving(api: FakeApi, settings: WebhookSettings = SETTINGS) -> Iterator[Webhook]:
    made = Webhook(settings, api.client())
    made.start()
    try:
        until(lambda: probe(made, "readyz") == (200, "ok\n"))
        yield made
    finally:
        made.end()
        until(lambda: not made._threads.alive())
        assert not made.failed


@pytest.fixture
def webhook(api: FakeApi) -> Iterator[Webhook]:
    with serving(api) as made:
        until(lambda: all(bundles(api)))
        yield made


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def bundles(api: FakeApi) -> list[bytes]:
    """What API servers believe, by webhook."""
    return [
        base64.b64decode(each["clientConfig"].get("caBundle", ""))
        for kind in (MUTATING, VALIDATING)
        for body in api.objects(kind)
        for each in body["webhooks"]
    ]


def secret(api: FakeApi) -> dict[str, bytes]:
    [body] = [each for each in api.objects(SECRET) if each["metadata"]["name"] == SECRET_NAME]
    return {name: base64.b64decode(text) for name, text in body.get("data", {}).items()}


def put_secret(api: FakeApi, files: dict[str, bytes]) -> None:
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    api.client().merge(SECRET, SECRET_KEY, {"data": data})


def probe(webhook: Webhook, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{webhook.ops.port}/{path}", timeout=PATIENCE_S) as answered:
            return answered.status, answered.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask(api: FakeApi, webhook: Webhook, path: str, content: Any) -> Answer:
    connection = Connection(webhook.server.port, bundles(api)[0])
    try:
        return connection.post(path, content)
    finally:
        connection.close()


# -- reviews -----------------------------------------------------------------------------------------------------------


def test_a_function_is_made_replaced_and_deleted(api: FakeApi, webhook: Webhook) -> None:
    written = service("3g.20gb")
    stored = ask(api, webhook, "/mutate", review("CREATE", written)).applied_to(written)
    assert stored["spec"]["template"]["spec"]["timeoutSeconds"] == 570
    assert ask(api, webhook, "/validate", review("CREATE", stored)).response["allowed"]
    again = ask(api, webhook, "/mutate", review("UPDATE", written, stored)).applied_to(written)
    assert again["spec"] == stored["spec"]
    stored["spec"]["template"]["spec"]["enableServiceLinks"] = False  # by Knative, for who creates
    again = ask(api, webhook, "/mutate", review("UPDATE", written, stored)).applied_to(written)
    assert again["spec"] == stored["spec"]
    assert ask(api, webhook, "/mutate", review("DELETE", None, stored)).response["allowed"]


def test_with_the_first_pod_that_may_be_moved_its_namespace_has_a_secret_which_stays(
    api: FakeApi, webhook: Webhook
) -> None:
    def relay_secrets() -> list[Any]:
        return [each for each in api.objects(SECRET) if each["metadata"]["name"] == "knative-mig-relay"]

    dry = ask(api, webhook, "/mutate", review("CREATE", function_pod(), kind="Pod", dry_run=True))
    assert dry.applied_to(function_pod())["spec"]["volumes"]
    ask(api, webhook, "/mutate", review("CREATE", function_pod(movable=False), kind="Pod"))
    assert relay_secrets() == []
    ask(api, webhook, "/mutate", review("CREATE", function_pod(), kind="Pod"))
    (made,) = relay_secrets()
    assert (made["metadata"]["namespace"], made["immutable"]) == ("team", True)
    secrets = KubeRelaySecrets(api.client())
    assert len(secrets.read("team")) >= 32
    assert not secrets.ensure("team")
    assert relay_secrets() == [made]
    assert secrets.ensure("other")
    assert secrets.read("other") != secrets.read("team")


@pytest.mark.parametrize(
    "data", [{}, {"secret": ""}, {"secret": "?"}, {"secret": base64.b64encode(b"\n\xff").decode()}]
)
def test_a_secret_without_a_secret_in_it_is_bad_input(api: FakeApi, data: dict[str, str]) -> None:
    about = {"namespace": "team", "name": "knative-mig-relay"}
    api.put_object({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": about, "data": data})
    with pytest.raises(BadInput, match=r"^Secret team/knative-mig-relay has no text under secret$"):
        KubeRelaySecrets(api.client()).read("team")


def test_a_pod_is_gated(api: FakeApi, webhook: Webhook) -> None:
    made = ask(api, webhook, "/mutate", review("CREATE", pod("3g.20gb"), kind="Pod")).applied_to(pod("3g.20gb"))
    assert made["spec"]["schedulingGates"] == [{"name": GATE}]


def test_the_cap_and_the_fleet_are_the_clusters(api: FakeApi, webhook: Webhook) -> None:
    answered = ask(api, webhook, "/validate", review("CREATE", service("7g.80gb"))).response
    assert "no GPU of this cluster can be cut into 7g.80gb" in answered["warnings"][0]
    api.client().merge(
        CONFIG_MAP,
        Key("knative-serving", "config-defaults"),
        {"data": {"max-revision-timeout-seconds": "700"}},
    )

    def timeout() -> int:
        body = service("7g.80gb")
        made = ask(api, webhook, "/mutate", review("CREATE", body)).applied_to(body)
        return int(made["spec"]["template"]["spec"]["timeoutSeconds"])

    until(lambda: timeout() == 700)


def test_one_connection_serves_many_reviews(api: FakeApi, webhook: Webhook) -> None:
    connection = Connection(webhook.server.port, bundles(api)[0])
    for _ in range(50):
        assert connection.post("/mutate", review("CREATE", pod("3g.20gb"), kind="Pod")).response["allowed"]
    before = connection.sock
    assert connection.post("/validate", review("CREATE", service())).response["allowed"]
    assert connection.sock is before
    connection.close()


def test_many_ask_at_once(api: FakeApi, webhook: Webhook) -> None:
    """Prints what it measured; the number is no verdict on a machine that others use too."""
    took: list[float] = []

    def client() -> None:
        connection = Connection(webhook.server.port, bundles(api)[0])
        for _ in range(25):
            began = time.perf_counter()
            assert connection.post("/mutate", review("CREATE", pod("3g.20gb"), kind="Pod")).response["allowed"]
            took.append(time.perf_counter() - began)
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert len(took) == 200
    took.sort()
    print(f"200 reviews by 8 clients: p50 {took[100] * 1e3:.1f} ms, p99 {took[197] * 1e3:.1f} ms")


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (("/mutate", b"{", "application/json"), 400),
        (("/mutate", b"", "application/json"), 400),
        (("/mutate", b"\x00\xff" * 100, "application/json"), 400),
        (("/validate", b"{}", "application/json"), 400),
        (("/mutate", b"{}", "text/plain"), 415),
        (("/mutate", b"{}", "application/x-www-form-urlencoded"), 415),
        (("/mutate", b"{}", None), 415),
        (("/", b"{}", "application/json"), 404),
        (("/elsewhere", b"{}", "application/json"), 404),
    ],
)
def test_garbage_is_refused_with_a_reason_and_the_connection_goes_on(
    api: FakeApi, webhook: Webhook, sent: tuple[str, bytes, str | None], status: int
) -> None:
    connection = Connection(webhook.server.port, bundles(api)[0])
    answered = connection.post(*sent)
    assert answered.status == status
    assert answered.body.endswith(b"\n")
    assert answered.body.count(b"\n") == 1
    assert connection.post("/mutate", review("CREATE", service())).response["allowed"]
    connection.close()


def test_a_charset_beside_the_content_type_is_fine(api: FakeApi, webhook: Webhook) -> None:
    connection = Connection(webhook.server.port, bundles(api)[0])
    body = json.dumps(review("CREATE", service())).encode()
    assert connection.post("/mutate", body, "application/json; charset=utf-8").response["allowed"]
    connection.close()


def test_a_huge_body_is_refused_and_heard_out(api: FakeApi, webhook: Webhook) -> None:
    answered = ask(api, webhook, "/mutate", b" " * (LARGEST + 1))
    assert answered.status == 413
    assert str(LARGEST).encode() in answered.body


def test_the_largest_review_there_can_be_is_answered(api: FakeApi, webhook: Webhook) -> None:
    body = service("3g.20gb", template={"example.com/large": "x" * (LARGEST // 2 - 8192)})
    assert ask(api, webhook, "/validate", review("UPDATE", body, body)).response["allowed"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "BREW"])
def test_another_method_is_refused(api: FakeApi, webhook: Webhook, method: str) -> None:
    connection = Connection(webhook.server.port, bundles(api)[0])
    connection.request(method, "/mutate")
    assert connection.getresponse().status == 405
    connection.close()


def test_large_bodies_beyond_a_few_are_asked_to_come_again(
    api: FakeApi, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_server, "LARGE_WAITS_S", 0.05)
    held = [webhook.server.large.acquire() for _ in range(webhook_server.LARGE_AT_ONCE)]
    assert ask(api, webhook, "/mutate", b" " * (webhook_server.ORDINARY + 1)).status == 503
    assert ask(api, webhook, "/mutate", review("CREATE", service())).response["allowed"]
    for _ in held:
        webhook.server.large.release()
    assert ask(api, webhook, "/mutate", b" " * (webhook_server.ORDINARY + 1)).status == 400


def test_a_fault_of_ours_is_answered_at_once_and_told(
    api: FakeApi, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(webhook._admission._decides, "add", fail)
    answered = ask(api, webhook, "/mutate", review("CREATE", pod("3g.20gb"), kind="Pod"))
    assert (answered.status, answered.body) == (500, b"the webhook failed: its log says why\n")
    assert "ZeroDivisionError" in caplog.text
    assert 'reviews_total{outcome="failed",webhook="mutate"} 1.0' in probe(webhook, "metrics")[1]


# -- clients that hold us up -------------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_let_go_and_holds_up_nobody(
    api: FakeApi, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_server, "HANDSHAKE_WITHIN_S", 2.0)  # as long as the other's may take
    with socket.create_connection(("127.0.0.1", webhook.server.port)) as silent:
        assert ask(api, webhook, "/mutate", review("CREATE", service())).response["allowed"]
        silent.settimeout(PATIENCE_S)
        assert silent.recv(1) == b""


def test_a_client_whose_body_does_not_come_is_told_so(
    api: FakeApi, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.2)
    connection = Connection(webhook.server.port, bundles(api)[0])
    connection.putrequest("POST", "/mutate")
    connection.putheader("Content-Length", "1000")
    connection.putheader("Content-Type", "application/json")
    connection.endheaders(b"{")
    assert connection.getresponse().status == 408
    connection.close()


def test_plain_text_is_no_way_in(api: FakeApi, webhook: Webhook) -> None:
    with socket.create_connection(("127.0.0.1", webhook.server.port), PATIENCE_S) as plain:
        plain.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"HTTP" not in received(plain)
    assert ask(api, webhook, "/mutate", review("CREATE", service())).response["allowed"]


def received(connection: socket.socket) -> bytes:
    """Until the other side closes, in whichever way."""
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except ConnectionResetError:
        pass
    return found


def test_old_tls_is_refused(api: FakeApi, webhook: Webhook) -> None:
    context = ssl.create_default_context(cadata=bundles(api)[0].decode())
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", webhook.server.port), PATIENCE_S) as raw, pytest.raises(OSError):
        context.wrap_socket(raw, server_hostname=HOST)


# -- certificates ------------------------------------------------------------------------------------------------------


def test_the_bundle_is_in_every_webhook_of_both_configurations(api: FakeApi, webhook: Webhook) -> None:
    assert bundles(api) == [secret(api)[AUTHORITIES]] * 3
    assert set(secret(api)) == set(FILES)
    [body] = api.objects(SECRET)
    assert body["metadata"]["labels"] == {"app.kubernetes.io/name": "knative-mig"}


@pytest.mark.parametrize("bundle", ["", base64.b64encode(b"somebody else's").decode()], ids=["applied anew", "other"])
def test_a_bundle_that_somebody_overwrote_is_repaired(api: FakeApi, webhook: Webhook, bundle: str) -> None:
    put_configurations(api, bundle)
    until(lambda: bundles(api) == [secret(api)[AUTHORITIES]] * 3)


def test_a_certificate_is_renewed_while_reviews_go_on(api: FakeApi, webhook: Webhook) -> None:
    open_before = Connection(webhook.server.port, bundles(api)[0])
    assert open_before.post("/mutate", review("CREATE", service())).response["allowed"]
    first = served(webhook)
    failed: list[Exception] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                assert ask(api, webhook, "/mutate", review("CREATE", service())).response["allowed"]
            except Exception as error:  # noqa: BLE001  told by the test's own thread
                failed.append(error)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for each in clients:
        each.start()
    names = SETTINGS.names
    try:
        # The other replica renews the certificate; then it follows the authority by another, which signs at last.
        put_secret(api, dict(certificates.after(Step.SIGN, secret(api), names, time.time())))
        until(lambda: served(webhook) != first)
        put_secret(api, dict(certificates.after(Step.NEW_AUTHORITY, secret(api), names, time.time())))
        until(lambda: bundles(api) == [secret(api)[AUTHORITIES]] * 3)
        second = served(webhook)
        put_secret(api, dict(certificates.after(Step.SIGN, secret(api), names, time.time())))
        until(lambda: served(webhook) != second)
    finally:  # else a failure would be waited for by the clients, for ever
        stop.set()
        for each in clients:
            each.join()
    assert failed == []
    assert open_before.post("/mutate", review("CREATE", service())).response["allowed"]
    open_before.close()


def served(webhook: Webhook) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", webhook.server.port), PATIENCE_S) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_a_certificate_that_cannot_be_used_leaves_the_old_one(api: FakeApi, webhook: Webhook) -> None:
    first = served(webhook)
    put_secret(api, {SERVER: b"not PEM", SERVER_KEY: b"not PEM"})
    until(lambda: secret(api)[SERVER] != b"not PEM")
    until(lambda: served(webhook) != first)
    assert ask(api, webhook, "/mutate", review("CREATE", service())).response["allowed"]


def test_two_replicas_share_one_secret_without_a_fight(api: FakeApi) -> None:
    with serving(api) as one, serving(api) as other:
        until(lambda: bundles(api) == [secret(api)[AUTHORITIES]] * 3)
        until(lambda: served(one) == served(other))
        for each in (one, other):
            assert ask(api, each, "/mutate", review("CREATE", service())).response["allowed"]
        seen = len(api.requests)
        until(lambda: sum(path.endswith(SECRET_NAME) for _, path in api.requests[seen:]) > 10)
        assert {method for method, _ in api.requests[seen:]} == {"GET"}
    writes = [path for method, path in api.requests if method == "PUT"]
    assert 1 <= len(writes) <= 2  # of two that find it empty at once, one is told of a conflict


def test_the_api_server_away_leaves_reviews_as_they_are(api: FakeApi, webhook: Webhook) -> None:
    bundle = bundles(api)[0]
    for method in ("GET", "PATCH", "PUT"):
        api.faults.fail(503, times=100_000, method=method)
    until(lambda: webhook.keeper.trouble != "")
    connection = Connection(webhook.server.port, bundle)
    assert connection.post("/mutate", review("CREATE", service("3g.20gb"))).response["allowed"]
    connection.close()
    assert probe(webhook, "readyz") == (200, "ok\n")


# -- the process -------------------------------------------------------------------------------------------------------


def test_without_a_secret_it_is_healthy_and_not_ready_and_says_why(api: FakeApi) -> None:
    api.remove_object(SECRET, SECRET_KEY)
    made = Webhook(SETTINGS, api.client())
    made.start()
    try:
        until(lambda: SECRET_NAME in probe(made, "readyz")[1])
        assert probe(made, "readyz")[0] == 503
        assert probe(made, "healthz") == (200, "ok\n")
        with socket.create_connection(("127.0.0.1", made.server.port), PATIENCE_S) as early:
            assert early.recv(1) == b""
    finally:
        made.end()


def test_what_it_may_not_read_it_does_without(api: FakeApi) -> None:
    for path in ("gpunodes", "configmaps"):
        api.faults.fail(403, times=100_000, path=path)
    with serving(api, replace(SETTINGS, waits_for_mirrors_s=0.3)) as made:
        until(lambda: all(bundles(api)))
        body = service("3g.20gb")
        stored = ask(api, made, "/mutate", review("CREATE", body)).applied_to(body)
        assert stored["spec"]["template"]["spec"]["timeoutSeconds"] == 570
        assert "warnings" not in ask(api, made, "/validate", review("CREATE", service("7g.80gb"))).response


def test_it_ends_within_two_seconds_with_connections_open(api: FakeApi) -> None:
    with serving(api) as made:
        until(lambda: all(bundles(api)))
        connection = Connection(made.server.port, bundles(api)[0])
        assert connection.post("/mutate", review("CREATE", service())).response["allowed"]
        began = time.monotonic()
        made.end()
        until(lambda: not made._threads.alive())
        assert time.monotonic() - began < webhook_server.KEPT_IDLE_S / 2  # it was not waited for
        connection.close()


def test_a_port_that_is_taken_fails_the_start(api: FakeApi, webhook: Webhook) -> None:
    with pytest.raises(OSError):
        Webhook(replace(SETTINGS, port=webhook.server.port), api.client())
