"""As much of protobuf's wire format as the kubelet's device-plugin API needs: strings, flags, maps, nested messages.

A message is {field number: values}. Twenty lines by hand instead of a code generator, its output and its version.
"""

from collections.abc import Iterable, Mapping

Value = str | bytes | bool
Message = Mapping[int, Iterable[Value]]

_VARINT, _BYTES = 0, 2


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def encode(message: Message) -> bytes:
    out = b""
    for field, values in message.items():
        for value in values:
            if isinstance(value, bool):
                out += _varint(field << 3 | _VARINT) + _varint(int(value))
            else:
                data = value.encode() if isinstance(value, str) else value
                out += _varint(field << 3 | _BYTES) + _varint(len(data)) + data
    return out


def entry(key: str, value: str) -> bytes:
    """One entry of a map."""
    return encode({1: [key], 2: [value]})


def decode(data: bytes) -> dict[int, list[bytes]]:
    """The fields that hold bytes (strings and messages); numbers are passed over."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        field, kind = divmod(number(), 8)
        length = number()  # of the bytes, or the number itself
        if kind == _BYTES:
            found.setdefault(field, []).append(data[at : at + length])
            at += length
        elif kind != _VARINT:
            raise ValueError(f"wire type {kind} of field {field} is not used by the device-plugin API")
    return found
