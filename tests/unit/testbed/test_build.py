"""A build that failed for want of a module proxy says so, and what to do; one that is bad says what Go said."""

import pytest

from tests.cluster.testbed import build

_ZIP = "https://proxy.example/github.com/coredns/coredns/@v/v1.15.0.zip"


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "run", lambda *_, **__: "https://proxy.example\n")


@pytest.mark.parametrize(
    "words",
    [
        f"github.com/coredns/coredns@v1.15.0: reading {_ZIP}: 404 Not Found",
        f"github.com/coredns/coredns@v1.15.0: reading {_ZIP}: 410 Gone",
        f"github.com/coredns/coredns@v1.15.0: reading {_ZIP}: 500 Internal Server Error",
        f'github.com/coredns/coredns@v1.15.0: Get "{_ZIP}": EOF',
        f'github.com/coredns/coredns@v1.15.0: Get "{_ZIP}": read tcp 192.0.2.1:80: read: connection reset by peer',
        f'github.com/coredns/coredns@v1.15.0: Get "{_ZIP}": tls: failed to verify certificate: x509: unknown authority',
        f'github.com/coredns/coredns@v1.15.0: Get "{_ZIP}": tls: first record does not look like a TLS handshake',
        f'github.com/coredns/coredns@v1.15.0: Get "{_ZIP}": dial tcp: lookup proxy.example: no such host',
        "read tcp 192.0.2.1:40112->192.0.2.2:443: read: connection reset by peer",
        "invalid proxy URL missing scheme: banana",
        "invalid proxy URL scheme (must be https, http, file): ftp://proxy.example",
        "module lookup disabled by GOPROXY=off",
        "reading go.mod at revision v1.15.0: git ls-remote -q --end-of-options https://github.com/coredns/coredns",
    ],
)
def test_a_module_proxy_that_does_not_serve_is_named_with_what_to_do(words: str) -> None:
    said = build.told("coredns", f"go: downloading github.com/coredns/coredns v1.15.0\n{words}\n{words}\nmore words\n")
    assert said is not None
    assert said.startswith("module proxy unreachable: modules of coredns")
    assert "GOPROXY=https://proxy.example" in said
    assert "set GOPROXY to a proxy that is reachable from here" in said
    assert said.count(words) == 1


def test_a_full_disk_is_no_trouble_of_the_proxy() -> None:
    said = build.told("coredns", f"reading {_ZIP}: write /cache/x: no space left on device")
    assert said is not None
    assert "disk is full" in said


@pytest.mark.parametrize(
    "words",
    [
        "./main.go:7:2: undefined: x",
        "verifying github.com/coredns/coredns@v1.15.0: checksum mismatch",
        "go: updates to go.mod needed; to update it:\n\tgo mod tidy",
    ],
)
def test_a_bad_build_is_left_to_gos_own_words(words: str) -> None:
    assert build.told("coredns", words) is None
