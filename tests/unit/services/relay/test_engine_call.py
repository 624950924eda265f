"""How an engine is asked: on this connection, and with the client's headers."""

import socket

import pytest

from knative_mig.core.errors import BadInput
from services.relay.engine_call import Address, request_bytes

ENGINE = Address(host="127.0.0.1", port=81)


def test_a_functions_own_url_is_asked_for_by_its_bare_name() -> None:
    asked = request_bytes("GET", Address.of("http://chat.team.svc"), "/health", [], b"", sent_on=True).decode()
    assert asked.splitlines()[1] == "Host: chat.team.svc"
    assert "Knative-Mig-Sent-On: 1" in asked.splitlines()


def test_headers_are_passed_but_for_those_of_one_connection() -> None:
    headers = [("Host", "x"), ("Connection", "keep-alive"), ("Accept-Encoding", "gzip"), ("traceparent", "00-1")]
    request = request_bytes("POST", ENGINE, "/v1/x?y=1", headers, b"{}", sent_on=True)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "POST /v1/x?y=1 HTTP/1.1",
        "Host: 127.0.0.1:81",
        "Connection: close",
        "traceparent: 00-1",
        "Content-Length: 2",
        "Knative-Mig-Sent-On: 1",
    ]
    assert body == b"{}"
    assert b"Content-Length" not in request_bytes("GET", ENGINE, "/", [], b"")


def test_an_address_is_plain_http() -> None:
    assert Address.of("http://fn.ns.svc.cluster.local") == Address(host="fn.ns.svc.cluster.local", port=80)
    assert Address.of("http://10.0.0.1:8019/below/") == Address(host="10.0.0.1", port=8019, path="/below")
    unspeakable = (f"http://{'a' * 64}", "http://x..y", "http://x/\u00e9\u044b")
    for wrong in ("", "10.0.0.1:80", "https://x", "http://x:port", "http://x?y", "http://[x", *unspeakable):
        with pytest.raises(BadInput):
            Address.of(wrong)


def test_a_gateway_is_connected_to_in_the_name_of_the_function() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        port = gateway.getsockname()[1]
        function = Address.of("http://chat.team.svc", f"127.0.0.1:{port}")
        with function.connect():
            gateway.accept()[0].close()
    assert function.authority == "chat.team.svc"


@pytest.mark.parametrize("wrong", ["127.0.0.1", ":8080", "127.0.0.1:0", "127.0.0.1:http"])
def test_what_is_no_gateway_is_said(wrong: str) -> None:
    with pytest.raises(BadInput, match="gateway like"):
        Address.of("http://chat.team.svc", wrong)
