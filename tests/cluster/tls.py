"""Certificates for servers that tests start, and how they listen: the handshake in the connection's own thread."""

import ssl
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from tests.cluster.testbed.shell import run


@dataclass(frozen=True, slots=True)
class Certificate:
    path: Path
    key: Path

    @property
    def text(self) -> str:
        return self.path.read_text()

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def self_signed(folder: Path, name: str, *hosts: str) -> Certificate:
    """A certificate that is its own authority, good for an hour or so of tests."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    names = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", made.key, "-out", made.path]
    )  # fmt: skip
    return made


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def listen(
    address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext
) -> ThreadingHTTPServer:
    server = _Server(address, handler)
    # Lazily: a client that connects and says nothing must not keep the others from being accepted.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves, or whose certificate is refused, is what tests do on purpose."""
