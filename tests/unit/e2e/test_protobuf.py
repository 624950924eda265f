import pytest

from tests.cluster.protobuf import decode, encode, entry


def test_a_message_has_the_bytes_that_protobuf_gives_it() -> None:
    # RegisterRequest{version: "v1beta1", endpoint: "a.sock", options{pre_start_required: true}}
    expected = b"\x0a\x07v1beta1\x12\x06a.sock\x22\x02\x08\x01"
    assert encode({1: ["v1beta1"], 2: ["a.sock"], 4: [encode({1: [True]})]}) == expected


def test_what_was_encoded_is_decoded_long_and_repeated_fields_too() -> None:
    long = "x" * 300
    assert decode(encode({1: [long, "b"], 2: [b"\x00"], 3: [True]})) == {1: [long.encode(), b"b"], 2: [b"\x00"]}


def test_a_map_entry_is_a_message_of_key_and_value() -> None:
    assert decode(entry("k", "v")) == {1: [b"k"], 2: [b"v"]}


def test_a_wire_type_that_the_api_does_not_use_is_refused() -> None:
    with pytest.raises(ValueError, match="wire type 1 of field 2"):
        decode(b"\x11\x08")
