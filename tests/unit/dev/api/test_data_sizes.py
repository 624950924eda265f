"""How much a ConfigMap and a Secret may hold, and in which words more is refused."""

import base64

import pytest

from tests.rigs.api_server import CONFIG_MAPS, Answered, Json, Rig

SECRETS = CONFIG_MAPS.replace("configmaps", "secrets")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _packed(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("path", "field", "more"),
    [
        (CONFIG_MAPS, "[]", {"data": {"a": "x" * (1 << 20), "b": "y"}}),
        (CONFIG_MAPS, "[]", {"data": {"a": "é" * (1 << 19) + "y"}}),
        (CONFIG_MAPS, "[]", {"data": {"b": "y"}, "binaryData": {"a": _packed(1 << 20)}}),
        (SECRETS, "data", {"data": {"a": _packed((1 << 20) + 1)}}),
        (SECRETS, "data", {"stringData": {"a": "x" * (1 << 20), "b": "y"}}),
    ],
    ids=["text", "bytes of text", "bytes", "a secret", "a secret's text"],
)
def test_data_are_a_mebibyte_at_most(rig: Rig, path: str, field: str, more: Json) -> None:
    with pytest.raises(Answered) as refused:
        rig.create(path, "c", **more)
    body = refused.value.body
    assert refused.value.code == 422
    message = "Too long: may not be more than 1048576 bytes"
    assert body["details"]["causes"] == [{"reason": "FieldValueTooLong", "message": message, "field": field}]
    assert body["message"].endswith(f'"c" is invalid: {field}: {message}')


def test_data_may_be_a_mebibyte(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c", data={"a": "x" * ((1 << 20) - 1)}, binaryData={"b": _packed(1)})
    rig.create(SECRETS, "s", data={"a": _packed(1 << 20)})
