"""The recording of the real API server is played against this one; and the recording and the playing are tried."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.loop import Loop
from tests.cluster.api_tour import KN, KUBECTL, Tour
from tests.cluster.recording import Exchange, Upstream, read, recorded
from tests.dev.client import Client
from tests.dev.conftest import SaidLogs
from tests.dev.knative_stand_in import KnativeStandIn
from tests.dev.replay import exceptions, played, unexcepted

_DATA = Path(__file__).parents[1] / "data"
_RECORDING = _DATA / "api_recording.jsonl.gz"


@pytest.fixture
def fresh() -> Iterator[ApiServer]:
    """Nobody else's objects are in its lists."""
    with Loop() as loop:
        server = ApiServer(logs=SaidLogs())
        loop.run(server.start())
        with KnativeStandIn(server.url):
            yield server
        loop.run(server.stop())


def _exchange(**about: Any) -> Exchange:
    plain: dict[str, Any] = {
        "number": 1,
        "client": "kubectl/v1",
        "method": "GET",
        "path": "/version",
        "query": [],
        "accept": "application/json",
        "content_type": "",
        "body": "",
        "is_text": True,
        "body_shape": None,
        "status": 200,
        "answer_type": "application/json",
    }
    return Exchange(**{**plain, **about})


def test_the_real_ones_recording_is_played_without_a_difference(fresh: ApiServer) -> None:
    left = played(read(_RECORDING), fresh.url, exceptions(_DATA / "api_exceptions.txt"))
    assert not left, "\n" + "\n".join(left)


@pytest.mark.timeout(600)
def test_what_is_recorded_here_plays_here_without_a_difference(
    api: ApiServer, fresh: ApiServer, kubectl: Client, kn: Client, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with KnativeStandIn(api.url), recorded(Upstream.of_url(api.url)) as recording:
        Tour(
            url=recording.url,
            kubectl=kubectl.binary,
            kn=kn.binary,
            image="x",
            home=home,
            of_kubectl=KUBECTL[:14],  # the whole of it is played above
            of_kn=KN[:3],
        ).take()
    file = tmp_path / "recording.gz"
    recording.write(file)
    exchanges = read(file)
    assert {each.client.partition("/")[0] for each in exchanges} >= {"kubectl", "kn", "OpenAPI-Generator"}
    assert len(exchanges) > 50
    assert played(exchanges, fresh.url) == []


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"path": "/apis/nix.example.com/v1/things"}, "kubectl GET /apis/nix.example.com/v1/things: is answered 404"),
        ({"method": "POST", "path": "/version"}, "kubectl POST /version: is answered 404"),
        ({"accept": "application/cbor", "path": "/api/v1/namespaces"}, "is answered 406 instead of 200"),
        (
            {
                "method": "PATCH",
                "path": "/api/v1/namespaces/default",
                "content_type": "application/nix-patch+json",
                "body": "{}",
            },
            "application/nix-patch+json",
        ),
        ({"answer_type": "text/plain"}, "comes as 'application/json' instead of 'text/plain'"),
        ({"answer": {"gitVersion": "number", "mayor": "string"}}, "lacks mayor"),
        ({"answer": {"gitVersion": "number"}}, "gitVersion is string instead of number"),
        ({"answer": {}}, "has gitVersion too"),
        (
            {"path": "/api/v1/nodes/x", "status": 404, "answer": {"kind": "Status", "message": "nodes x not found"}},
            "message is 'nodes \"x\" not found' instead of 'nodes x not found'",
        ),
        (
            {
                "path": "/api/v1",
                "answer": {
                    "kind": "APIResourceList",
                    "groupVersion": "v1",
                    "resources": [{"name": "bindings", "kind": "Binding"}],
                },
            },
            "does not serve v1/bindings",
        ),
    ],
    ids=[
        "an unknown path",
        "an unknown verb",
        "an unknown content type",
        "an unknown patch",
        "another content type",
        "a field that is missing",
        "a field of another type",
        "a field too many",
        "other words",
        "a kind that is not served",
    ],
)
def test_each_difference_is_named(api: ApiServer, about: dict[str, Any], said: str) -> None:
    assert any(said in line for line in played([_exchange(**about)], api.url, patience_s=0.0))


def test_what_answers_refer_to_is_this_servers_own(api: ApiServer) -> None:
    """A recorded uid as a precondition: the player puts the uid of the object here in its place."""
    uid = "11111111-2222-3333-4444-555555555555"
    where = "/api/v1/namespaces/default/configmaps"
    body = '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"}}'
    answer = {"kind": "ConfigMap", "metadata": {"uid": f"={uid}"}}
    made = _exchange(
        number=1, method="POST", path=where, content_type="application/json", body=body, status=201, answer=answer
    )
    gone = _exchange(
        number=2,
        method="DELETE",
        path=f"{where}/c",
        content_type="application/json",
        body=f'{{"preconditions":{{"uid":"{uid}"}}}}',
        answer={"kind": "Status", "details": {"kind": "configmaps", "name": "c", "uid": uid}},
    )
    assert not [line for line in played([made, gone], api.url) if "DELETE" in line]


def test_an_exception_is_a_glob_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "exceptions.txt"
    file.write_text("# a comment\n* lacks status.* | nobody runs here\n")
    (excepted,) = exceptions(file)
    assert excepted.reason == "nobody runs here"
    assert unexcepted(["kubectl GET /x: lacks status.a", "kubectl GET /x: lacks spec"], [excepted]) == [
        "kubectl GET /x: lacks spec"
    ]
