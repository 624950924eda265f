"""Objects as Go's clients send them: bytes that `kubectl create` has sent, and bytes that are none."""

import base64

import pytest

from knative_mig.dev.api import protobuf, types
from knative_mig.dev.api.refusals import Refusal
from tests.rigs.api_server import CONFIG_MAPS, Rig

_TYPES = types.committed()


def _named(api_version: str, kind: str) -> str:
    return f"{ {'v1': 'core.v1', 'apps/v1': 'apps.v1'}[api_version] }.{kind}"


def _field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def _sent(kind: bytes, raw: bytes, api_version: bytes = b"v1") -> bytes:
    return b"k8s\x00" + _field(1, _field(1, api_version) + _field(2, kind)) + _field(2, raw)


_ABOUT = _field(1, _field(1, b"c") + _field(2, b"") + _field(8, b""))  # its namespace empty, its time not told


def test_a_map_of_strings() -> None:
    body = _sent(b"ConfigMap", _ABOUT + _field(2, _field(1, b"a") + _field(2, b"1")) + _field(2, _field(1, b"b")))
    assert protobuf.parsed(body, _TYPES, _named) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "c"},
        "data": {"a": "1", "b": ""},
    }


def test_bytes_are_base64_in_json() -> None:
    body = _sent(b"Secret", _field(2, _field(1, b"a") + _field(2, b"\xff")))
    assert protobuf.parsed(body, _TYPES, _named)["data"] == {"a": base64.b64encode(b"\xff").decode()}


def test_a_zero_counts_where_the_type_tells_it_from_nothing() -> None:
    spec = bytes([1 << 3, 0]) + bytes([5 << 3, 0]) + bytes([7 << 3, 0])  # replicas, minReadySeconds, paused
    found = protobuf.parsed(_sent(b"Deployment", _field(2, spec), b"apps/v1"), _TYPES, _named)
    assert found["spec"] == {"replicas": 0}


def test_what_json_has_flat_is_nested_here() -> None:
    host_path = _field(1, _field(1, b"/x"))  # a Volume's VolumeSource's hostPath
    volume = _field(1, _field(1, b"v") + _field(2, host_path))
    found = protobuf.parsed(_sent(b"Pod", _field(2, volume)), _TYPES, _named)
    assert found["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


@pytest.mark.parametrize(
    ("wrap", "read"),
    [
        (_field(6, bytes([1 << 3, 1])), {"firstTimestamp": "1970-01-01T00:00:01Z"}),
        (_field(10, bytes([1 << 3, 1, 2 << 3]) + b"\xe8\x07"), {"eventTime": "1970-01-01T00:00:01.000001Z"}),
        (bytes([8 << 3]) + b"\xff" * 9 + b"\x01", {"count": -1}),
    ],
)
def test_times_and_negative_numbers(wrap: bytes, read: dict[str, object]) -> None:
    found = protobuf.parsed(_sent(b"Event", wrap), _TYPES, _named)
    assert {key: value for key, value in found.items() if key not in ("kind", "apiVersion")} == read


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00\xff",
        _sent(b"ConfigMap", b"\x0a\x7f"),
        _sent(b"ConfigMap", b"\x0b"),
        _sent(b"ConfigMap", _field(2, _field(1, b"\xff"))),
        b"k8s\x00" + b"\x80" * 12,
    ],
    ids=["empty", "JSON", "cut off", "longer than it is", "a group", "no UTF-8", "a number without an end"],
)
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match=r"the body of the request is no application/vnd\.kubernetes\.protobuf"):
        protobuf.parsed(body, _TYPES, _named)


def test_it_is_taken_wherever_an_object_is() -> None:
    rig = Rig()
    body = _sent(b"ConfigMap", _ABOUT)
    made = rig.call("POST", CONFIG_MAPS, body, content_type="application/vnd.kubernetes.protobuf")
    assert made["metadata"]["name"] == "c"
    options = b"k8s\x00" + _field(1, _field(1, b"v1") + _field(2, b"DeleteOptions")) + _field(2, _field(4, b"Orphan"))
    marked = rig.call("DELETE", f"{CONFIG_MAPS}/c", options, content_type="application/vnd.kubernetes.protobuf")
    assert marked["metadata"]["finalizers"] == ["orphan"]
