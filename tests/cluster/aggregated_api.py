"""A tiny aggregated API, served by the test process: it says who asked, and whom it believed.

What it holds to is what any server behind the API server's aggregation must: the X-Remote-* headers count only on a
connection whose client certificate was signed by the requestheader authority and bears an allowed name.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from tests.cluster.api import CONFIG_MAP, Api
from tests.cluster.tls import Certificate, listen, self_signed

VERSION: Final = "v1"
_SETTINGS: Final = "extension-apiserver-authentication"  # the API server writes it for servers like this one


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Whom to believe when it says on whose behalf it asks."""

    authority: str
    names: tuple[str, ...]
    user_header: str
    group_header: str

    @classmethod
    def of_cluster(cls, api: Api) -> "FrontProxy":
        found = api.get(CONFIG_MAP, _SETTINGS, "kube-system")["data"]
        return cls(
            authority=found["requestheader-client-ca-file"],
            names=tuple(json.loads(found["requestheader-allowed-names"])),
            user_header=json.loads(found["requestheader-username-headers"])[0],
            group_header=json.loads(found["requestheader-group-headers"])[0],
        )


@dataclass(frozen=True, slots=True)
class Served:
    port: int
    certificate: Certificate


@contextmanager
def serving(group: str, host: str, name: str, front_proxy: FrontProxy, folder: Path) -> Iterator[Served]:
    certificate = self_signed(folder, "aggregated", host, name)
    context = certificate.server()
    # Asked for, not demanded: health checks come without one. A certificate of another authority ends the handshake.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=front_proxy.authority)

    class Handler(_WhoAmI):
        api_group = group
        believed = front_proxy

    server = listen((host, 0), Handler, context)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Served(server.server_address[1], certificate)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _WhoAmI(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api_group: str
    believed: FrontProxy

    def do_GET(self) -> None:
        root = f"/apis/{self.api_group}/{VERSION}"
        caller = self._caller()
        if caller is None:
            self._say(401, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized"})
        elif self.path == root:
            resource = {"name": "whoami", "singularName": "", "namespaced": False, "kind": "WhoAmI", "verbs": ["get"]}
            listed = {"groupVersion": f"{self.api_group}/{VERSION}", "resources": [resource]}
            self._say(200, {"kind": "APIResourceList", "apiVersion": "v1", **listed})
        elif self.path == f"{root}/whoami":
            self._say(200, {"kind": "WhoAmI", "apiVersion": f"{self.api_group}/{VERSION}", **caller})
        else:
            self._say(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"})

    def _caller(self) -> dict[str, Any] | None:
        assert isinstance(self.connection, ssl.SSLSocket)
        presented = self.connection.getpeercert() or {}
        subject: Any = presented.get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        if not set(names) & set(self.believed.names):
            return None
        return {
            "user": self.headers[self.believed.user_header],
            "groups": self.headers.get_all(self.believed.group_header, []),
            "vouchedBy": names[0],
        }

    def _say(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet: tests print what they need."""
