"""Changes of a JSON body: one thing in the tree is something else, or the bytes are no longer those of the tree."""

import copy
import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

from tests.fuzz_campaign.draft import Change, Draft

LONG: Final = 200_000  # characters; past every cap but the webhook's own
TEXTS: Final = (
    "", " ", "0", "1", "-1", "+1", "1.0", "1e3", "1e999999999", "9" * 5000, "nan", "true", "null", "None", "\x00", "\n",
    "a\nb", "a\r\nb: c", "\ud800", "\udfff", "\ufeff", "\uffff", "\u202e", "é", "🙂", "\uff11", "x" * 64, "x" * 3000,
    "../..", "%", "%ff",
    "a/b", "/", "//", "~1", "knative-mig.dev/", "knative-mig.dev/chosen", "nvidia.com/mig-1g.5gb", "nvidia.com/mig-",
    "3g.20gb",
    "0g.0gb", "99g.9999gb", "3g.20gb+me", "{}", "[]", "<a>", "'", '"', "\\",
)  # fmt: skip
SCALARS: Final = (None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, -(2**70), 0.5, -0.0, 1e308, 1.0)
BODIES: Final = (
    b"", b" ", b"null", b"true", b"0", b"[]", b"{}", b'""', b"[{}]", b"{", b"}", b'{"a"}', b"nan", b"\x00", b"\xff\xfe",
    b"[" * 100_000, b"[" * 500 + b"]" * 500, b'{"a":' * 5000 + b"1" + b"}" * 5000, b'"' + b"\\ud800" * 9 + b'"',
    b"1" * 5000, b"-" + b"1" * 20_000, b"a=b&c=d", b"<xml/>",
)  # fmt: skip
NUMBERS: Final = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000, b"01", b"1.", b".5", b"0x1")


class Twice(dict[str, Any]):
    """Written with its first entry once more at the end, as another value."""

    def items(self) -> Any:
        pairs = list(super().items())
        return [*pairs, (pairs[0][0], "again")]


def places(of: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in it with each of its keys."""
    keys = list(of) if isinstance(of, dict) else range(len(of)) if isinstance(of, list) else ()
    for key in keys:
        yield of, key
        yield from places(of[key])


def value(chance: Random, depth: int = 2) -> Any:
    match chance.randrange(8 if depth else 5):
        case 0 | 1 | 2:
            return chance.choice(TEXTS)
        case 3 | 4:
            return chance.choice(SCALARS)
        case 5:
            return [value(chance, depth - 1) for _ in range(chance.randrange(3))]
        case _:
            return {chance.choice(TEXTS): value(chance, depth - 1) for _ in range(chance.randrange(3))}


def _somewhere(draft: Draft, chance: Random) -> tuple[Any, Any]:
    draft.tree = copy.deepcopy(draft.tree) if isinstance(draft.tree, dict) and draft.tree else {"only": 1}
    return chance.choice(list(places(draft.tree)))


def _another_value(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    inside[key] = value(chance)


def _missing(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    del inside[key]


def _one_more(draft: Draft, chance: Random) -> None:
    inside, _ = _somewhere(draft, chance)
    if isinstance(inside, dict):
        inside[chance.choice(TEXTS)] = value(chance)
    else:
        inside.append(value(chance))


def _renamed(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    if isinstance(inside, dict):
        new = chance.choice((key.upper(), key.title(), f"{key} ", f"{key}s", chance.choice(TEXTS)))
        inside[new] = inside.pop(key)
    else:
        inside.insert(0, copy.deepcopy(inside[key]))


def _swapped(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    other, there = chance.choice(list(places(draft.tree)))
    inside[key] = copy.deepcopy(other[there])


def _long_text(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    text = chance.choice(("9", "x", "é", "🙂", "\\", " ")) * chance.choice((300, 5000, LONG // 10, LONG))
    if isinstance(inside, dict) and chance.random() < 0.5:
        inside[f"nvidia.com/mig-{text}"] = inside.pop(key)
    else:
        inside[key] = f"{chance.randrange(10**6)}{text}"


def _deep(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    inside[key] = "\x01here"
    levels = chance.choice((60, 64, 65, 200, 900))
    begin, end = chance.choice(((b'{"a":', b"}"), (b"[", b"]")))
    draft.raw = json.dumps(draft.tree).encode().replace(b'"\\u0001here"', begin * levels + b"1" + end * levels)


def _twice(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    if isinstance(inside[key], dict) and inside[key]:
        inside[key] = Twice(inside[key])
    else:
        draft.tree = Twice(draft.tree)


def _no_json_number(draft: Draft, chance: Random) -> None:
    inside, key = _somewhere(draft, chance)
    inside[key] = "\x01here"
    draft.raw = json.dumps(draft.tree).encode().replace(b'"\\u0001here"', chance.choice(NUMBERS))


def _other_encoding(draft: Draft, chance: Random) -> None:
    text = json.dumps(draft.tree, ensure_ascii=False)
    encoding = chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "latin-1"))
    draft.raw = text.encode(encoding, errors="replace")


def _raw_bytes(draft: Draft, chance: Random) -> None:
    """Not UTF-8 in the middle of a text."""
    inside, key = _somewhere(draft, chance)
    inside[key] = "\x01here"
    broken = chance.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x00", b"\t", b"\n"))
    draft.raw = json.dumps(draft.tree).encode().replace(b"\\u0001here", broken)


def _flipped(draft: Draft, chance: Random) -> None:
    body = bytearray(draft.body or b"{}")
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    draft.raw = bytes(body)


def _inserted(draft: Draft, chance: Random) -> None:
    body = draft.body
    at = chance.randrange(len(body) + 1)
    draft.raw = body[:at] + chance.randbytes(chance.randrange(1, 5)) + body[at:]


def _cut_short(draft: Draft, chance: Random) -> None:
    """And its length told as it is now."""
    body = draft.body or b"{}"
    draft.raw = body[: chance.randrange(len(body))]


def _more_behind(draft: Draft, chance: Random) -> None:
    draft.raw = draft.body + chance.choice((b"{}", b",", b"\x00", b"]", b" x", draft.body, b"\r\n\r\n"))


def _another_body(draft: Draft, chance: Random) -> None:
    draft.raw = chance.choice(BODIES)


JSON_CHANGES: Final[Mapping[str, Change]] = {
    "a value is another": _another_value,
    "a key is missing": _missing,
    "a key more": _one_more,
    "a key has another name": _renamed,
    "a value stands elsewhere": _swapped,
    "a long text": _long_text,
    "nested deep": _deep,
    "a key comes twice": _twice,
    "no JSON number": _no_json_number,
    "another encoding": _other_encoding,
    "no UTF-8": _raw_bytes,
    "a bit flipped": _flipped,
    "bytes inserted": _inserted,
    "JSON cut short": _cut_short,
    "more behind the JSON": _more_behind,
    "another body": _another_body,
}
