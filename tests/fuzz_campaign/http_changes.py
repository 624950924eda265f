"""Changes of the HTTP around a body: harmless ones, which a server must not mind, and others.

`framed` goes where a change may move the request's end: what the server makes of the rest is its own business, as long
as each answer is a proper one.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

from tests.fuzz_campaign.draft import Change, Draft

ODD_VALUES: Final = (
    b"", b" ", b"0", b"-1", b"x" * 3000, b"x" * 60_000, b"x" * 70_000, b"\xff", b"\xc3\xa9", "é".encode(), b"%",
    b"%zz", b"%ff",
    b"%c3%a9", b"%00", b"%0d%0aX-Y:%20z", b"%ed%a0%80", b"\x7f", b'"a"', b"a, b", b"a;b=c", b"=?utf-8?q?a?=", b"*/*",
    b"null",
)  # fmt: skip
BREAKING_VALUES: Final = (
    b"a\x00b",
    b"a\rb",
    b"a\rX-Y: z",
    b"a\nb",
    b"a\r\n b",
    b"a\r\n\r\nb",
    b"\x0b",
    b"a\x1cb",
    b"\x85",
)
CONTENT_TYPES: Final = (
    b"text/plain", b"application/xml", b"application/jsonx", b"json", b"application", b"application/json, text/plain",
    b"application/json; charset=utf-16", b"application/json;charset=latin-1", b"application/cloudevents-batch+json",
    b"application/cloudevents", b"application/cloudevents+avro", b"multipart/form-data; boundary=x", b";", b"/",
    b"a/b/c",
    b"application/x-www-form-urlencoded", b"application/json; charset", b"application/json; charset==",
    b"message/rfc822",
)  # fmt: skip
METHODS: Final = (
    b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"BREW", b"post", b"POST\x00", b"P" * 3000,
)  # fmt: skip
PATHS: Final = (
    b"/elsewhere", b"/mutate/", b"/MUTATE", b"//", b"/%2f", b"/..", b"*", b"mutate", b"http://elsewhere/x", b"/\xff",
    b"/#", b"/" + b"a" * 3000,
    b"/" + b"a" * 70_000,
)  # fmt: skip
VERSIONS: Final = (
    b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1.1", b"HTTP/1", b"HTTP/x.y", b"http/1.1",
    b"HTTPS/1.1",
    b"", b"HTTP/1.1 x", b"HTTP/99999999999.1",
)  # fmt: skip


# -- harmless ----------------------------------------------------------------------------------------------------------


def _case(draft: Draft, chance: Random) -> None:
    spell = chance.choice((bytes.upper, bytes.lower, bytes.title))
    draft.headers = [(spell(name), value) for name, value in draft.headers]


def _order(draft: Draft, chance: Random) -> None:
    chance.shuffle(draft.headers)


def _query(draft: Draft, chance: Random) -> None:
    draft.path += chance.choice((b"?timeout=5s", b"?", b"?a=b&c=%20", b"?" + b"a" * 1000))


def _more_headers(draft: Draft, chance: Random) -> None:
    draft.headers += [(b"X-More-%d" % n, b"x" * chance.randrange(60)) for n in range(chance.choice((1, 5, 60)))]


def _blanks(draft: Draft, _: Random) -> None:
    draft.headers = [(name, b" \t" + value + b" ") for name, value in draft.headers]


def _expects(draft: Draft, _: Random) -> None:
    draft.headers.append((b"Expect", b"100-continue"))


def _in_chunks(draft: Draft, chance: Random) -> None:
    body, chunks = draft.body, []
    while body:
        size = chance.choice((1, 7, 64, 4096, 65_536)) if len(body) < 10_000 else chance.choice((4096, 65_536))
        extension = chance.choice((b"", b"", b";a=b", b" ; a"))
        chunks.append(b"%x%s\r\n%s\r\n" % (len(body[:size]), extension, body[:size]))
        body = body[size:]
    trailers = chance.choice((b"", b"", b"X-Trailer: 1\r\n"))
    draft.written = b"".join((*chunks, b"0\r\n", trailers, b"\r\n"))
    draft.lengths = [(b"Transfer-Encoding", chance.choice((b"chunked", b"Chunked")))]


HARMLESS: Final[Mapping[str, Change]] = {
    "headers in another case": _case,
    "headers in another order": _order,
    "a query": _query,
    "more headers": _more_headers,
    "blanks around values": _blanks,
    "100-continue": _expects,
    "in chunks": _in_chunks,
}


# -- of the head -------------------------------------------------------------------------------------------------------


def _some_header(draft: Draft, chance: Random) -> int:
    if not draft.headers:
        draft.headers.append((b"X-Only", b"1"))
    return chance.randrange(len(draft.headers))


def _no_header(draft: Draft, chance: Random) -> None:
    del draft.headers[_some_header(draft, chance)]


def _odd_header(draft: Draft, chance: Random) -> None:
    at = _some_header(draft, chance)
    draft.headers[at] = (draft.headers[at][0], chance.choice(ODD_VALUES))


def _header_twice(draft: Draft, chance: Random) -> None:
    name, value = draft.headers[_some_header(draft, chance)]
    draft.headers.append((name, chance.choice((value, b"other", b""))))


def _breaking_header(draft: Draft, chance: Random) -> None:
    at = _some_header(draft, chance)
    draft.headers[at] = (draft.headers[at][0], chance.choice(BREAKING_VALUES))
    draft.framed = False


def _odd_header_name(draft: Draft, chance: Random) -> None:
    at = _some_header(draft, chance)
    name = draft.headers[at][0]
    odd = (
        b"",
        b" ",
        name + b" ",
        b" " + name,
        name + b"\x00",
        b"ce-",
        b"ce-\xff",
        b"ce-ID.x",
        b"ce-data",
        b":",
        b"x" * 5000,
    )
    draft.headers[at] = (chance.choice(odd), draft.headers[at][1])
    draft.framed = False


def _no_header_line(draft: Draft, chance: Random) -> None:
    """Where a header should stand."""
    draft.headers.insert(_some_header(draft, chance), (b"", b""))
    draft.newline = chance.choice((b"\r\n", b"\n", b"\r", b"\n\r\n"))
    draft.framed = False


def _too_many_headers(draft: Draft, _: Random) -> None:
    draft.headers += [(b"X-More-%d" % n, b"x") for n in range(150)]


def _content_type(draft: Draft, chance: Random) -> None:
    draft.set(b"Content-Type", chance.choice(CONTENT_TYPES))


def _method(draft: Draft, chance: Random) -> None:
    draft.method = chance.choice(METHODS)
    # One that a server may take for HTTP/0.9, or for no request.
    draft.framed = draft.framed and draft.method.isalpha() and draft.method != b"GET"


def _path(draft: Draft, chance: Random) -> None:
    draft.path = chance.choice(PATHS)


def _version(draft: Draft, chance: Random) -> None:
    draft.version = chance.choice(VERSIONS)
    draft.framed = False


def _blank_in_path(draft: Draft, chance: Random) -> None:
    draft.path += chance.choice((b" x", b"\tx", b"\x00", b"\rX: y", b"  "))
    draft.framed = False


# -- of where the body ends --------------------------------------------------------------------------------------------


def _another_length(draft: Draft, chance: Random) -> None:
    true = len(draft.body)
    others = (true + 1, true + 100, max(0, true - 1), true // 2, 0, 10**9 - 1, 10**9, 10**30, -1, -true)
    draft.lengths = [(b"Content-Length", b"%d" % chance.choice(others))]
    draft.framed = False


def _odd_length(draft: Draft, chance: Random) -> None:
    true = len(draft.body)
    odd = (b"+%d", b"0x%x", b"%d.0", b"%d, %d", b"%d;", b"\xc2\xb2%d", b"%d\x00", b"00%d", b"1_%d", b"%de1")
    text = chance.choice(odd)
    draft.lengths = [(b"Content-Length", text % ((true,) * text.count(b"%")))]
    draft.framed = False


def _no_length(draft: Draft, _: Random) -> None:
    draft.lengths = []
    draft.framed = False


def _two_lengths(draft: Draft, chance: Random) -> None:
    true = b"%d" % len(draft.body)
    second = chance.choice((true, b"0", b"5"))
    chunked = (b"Transfer-Encoding", chance.choice((b"chunked", b"identity", b"gzip, chunked")))
    draft.lengths = [(b"Content-Length", true), chance.choice(((b"Content-Length", second), chunked))]
    draft.framed = False


def _odd_encoding(draft: Draft, chance: Random) -> None:
    _in_chunks(draft, chance)
    odd = (
        b"gzip",
        b"chunked, chunked",
        b"identity",
        b"",
        b"xchunked",
        b"chunked;q=1",
        b"chunked\x0b",
        b"gzip, chunked",
    )
    draft.lengths = [(b"Transfer-Encoding", chance.choice(odd))]
    draft.framed = False


def _odd_chunks(draft: Draft, chance: Random) -> None:
    _in_chunks(draft, chance)
    body = draft.body
    odd = (
        b"0x5\r\nabcde\r\n0\r\n\r\n", b"-1\r\n\r\n0\r\n\r\n", b"zz\r\n\r\n", b"\r\n\r\n", b"ffffffff\r\nabc",
        b"fffffffff\r\nabc", b"5\r\nabcdef\r\n0\r\n\r\n",
        b"%x\r\n%s" % (len(body) + 5, body), b"%x\r\n%s0\r\n\r\n" % (len(body), body), b"1" * 300,
        b"0" * 300 + b"\r\n\r\n", b"5;" + b"a" * 1000,
        (draft.written or b"")[:-2], b"0\r\n" + b"A: b\r\n" * 100 + b"\r\n", b"0\r\n" + b"a" * 2000,
        b"%x \x00\r\n%s\r\n0\r\n\r\n" % (len(body), body),
    )  # fmt: skip
    draft.written = chance.choice(odd)
    draft.framed = False


def _cut_off(draft: Draft, chance: Random) -> None:
    """In the middle of the body, and the client is gone."""
    body = draft.body or b"{}"
    draft.lengths = [(b"Content-Length", b"%d" % len(body))]
    draft.written = body[: chance.randrange(len(body))]
    draft.framed = False


def _more_behind(draft: Draft, chance: Random) -> None:
    odd = (
        b"\r\n",
        b"{}",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 100,
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
        b"\n",
    )
    draft.written = draft.body + chance.choice(odd)
    draft.framed = False


HTTP_CHANGES: Final[Mapping[str, Change]] = {
    "a header is missing": _no_header,
    "a header's value is odd": _odd_header,
    "a header comes twice": _header_twice,
    "a header's value breaks the line": _breaking_header,
    "a header's name is odd": _odd_header_name,
    "a line that is no header": _no_header_line,
    "too many headers": _too_many_headers,
    "another content type": _content_type,
    "another method": _method,
    "another path": _path,
    "another version": _version,
    "a blank in the path": _blank_in_path,
    "another length": _another_length,
    "an odd length": _odd_length,
    "no length": _no_length,
    "two lengths": _two_lengths,
    "an odd transfer encoding": _odd_encoding,
    "odd chunks": _odd_chunks,
    "cut off": _cut_off,
    "more behind the body": _more_behind,
}
