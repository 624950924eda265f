"""A small client of the Kubernetes API, over the standard library: JSON in, JSON out, errors with their reason.

Tests use it where kubectl would cost a process for each look, or cannot say what they must say (a patch type, a
subresource, a watch whose arrival times are measured). One connection a request, so any thread may call.
"""

import base64
import contextlib
import http.client
import json
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

Object = dict[str, Any]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """Where objects of a kind are served."""

    group: str  # with its version; "v1" is the core group
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        root = f"/api/{self.group}" if "/" not in self.group else f"/apis/{self.group}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{place}/{self.plural}{f'/{name}' if name else ''}"

    def named(self, name: str, namespace: str | None = None) -> "Named":
        return Named(self, name, namespace)


@dataclass(frozen=True, slots=True)
class Named:
    """One object."""

    kind: Kind
    name: str
    namespace: str | None

    def __str__(self) -> str:
        return f"{self.kind.plural}/{self.name}"

    @property
    def query(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={self.name}"}


POD: Final = Kind("v1", "pods")
NODE: Final = Kind("v1", "nodes", namespaced=False)
NAMESPACE: Final = Kind("v1", "namespaces", namespaced=False)
CONFIG_MAP: Final = Kind("v1", "configmaps")
SERVICE_ACCOUNT: Final = Kind("v1", "serviceaccounts")
CORE_SERVICE: Final = Kind("v1", "services")
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io/v1", "endpointslices")
DEPLOYMENT: Final = Kind("apps/v1", "deployments")
API_SERVICE: Final = Kind("apiregistration.k8s.io/v1", "apiservices", namespaced=False)
SERVICE: Final = Kind("serving.knative.dev/v1", "services")
REVISION: Final = Kind("serving.knative.dev/v1", "revisions")
AUTOSCALER: Final = Kind("autoscaling.internal.knative.dev/v1alpha1", "podautoscalers")
SERVERLESS_SERVICE: Final = Kind("networking.internal.knative.dev/v1alpha1", "serverlessservices")
BROKER: Final = Kind("eventing.knative.dev/v1", "brokers")
TRIGGER: Final = Kind("eventing.knative.dev/v1", "triggers")


class RefusedError(Exception):
    """The API server's no, with the reason of its Status object."""

    def __init__(self, code: int, answer: Object) -> None:
        super().__init__(f"{code} {answer.get('reason', '')}: {answer.get('message', answer)}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Api:
    host: str
    port: int
    tls: ssl.SSLContext | None  # None: http, as `knative-mig dev` speaks it on loopback
    token: str = field(default="", repr=False)

    @classmethod
    def of_kubeconfig(cls, path: Path, *, token: str = "") -> "Api":
        """Certificates may stand in the file (kind writes it so) or in files beside it. With a token, whoever has that
        one asks, and nobody else's certificate is shown.
        """
        config = yaml.safe_load(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urllib.parse.urlsplit(cluster["server"])
        if server.scheme == "http":
            return cls(host=server.hostname or "", port=server.port or 80, tls=None, token=token)
        with tempfile.TemporaryDirectory() as folder:

            def material(entry: Object, key: str) -> str:
                if f"{key}-data" not in entry:
                    return str(entry[key])
                unpacked = Path(folder, key)
                unpacked.write_bytes(base64.b64decode(entry[f"{key}-data"]))
                return str(unpacked)

            tls = ssl.create_default_context(cafile=material(cluster, "certificate-authority"))
            if not token:
                tls.load_cert_chain(material(user, "client-certificate"), material(user, "client-key"))
        return cls(host=server.hostname or "", port=server.port or 443, tls=tls, token=token)

    @contextlib.contextmanager
    def _answer(
        self, method: str, path: str, body: Any, content_type: str, timeout: float
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout)
        try:
            headers = {"Accept": "application/json", "User-Agent": "knative-mig-tests"}
            if body is not None:
                headers["Content-Type"] = content_type
            if self.token:
                headers["Authorization"] = f"Bearer {self.token}"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                text = answer.read().decode(errors="replace")
                try:
                    status = json.loads(text)
                except ValueError:
                    status = {"message": text}
                raise RefusedError(answer.status, status)
            yield answer
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout)

    def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", timeout: float = 30
    ) -> Object:
        with self._answer(method, path, body, content_type, timeout) as answer:
            found: Object = json.loads(answer.read())
            return found

    def text(self, path: str, *, timeout: float = 30) -> str:
        """What is no JSON: logs, metrics."""
        with self._answer("GET", path, None, "", timeout) as answer:
            return answer.read().decode(errors="replace")

    def lines(self, path: str, *, seconds: float) -> Iterator[str]:
        """Of a log that is followed: as they come, for as long as one comes within so many seconds."""
        with self._answer("GET", path, None, "", seconds) as answer:
            while line := answer.readline():
                yield line.decode(errors="replace")

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        return self.call("GET", kind.path(namespace, name))

    def items(self, kind: Kind, namespace: str | None = None, **query: str) -> list[Object]:
        found: list[Object] = self.call("GET", f"{kind.path(namespace)}?{urllib.parse.urlencode(query)}")["items"]
        return found

    def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        return self.call("POST", kind.path(namespace), body)

    def merge(
        self, kind: Kind, name: str, patch: Object, namespace: str | None = None, *, subresource: str = ""
    ) -> Object:
        path = f"{kind.path(namespace, name)}{f'/{subresource}' if subresource else ''}"
        return self.call("PATCH", path, patch, content_type=MERGE_PATCH)

    def annotate(self, kind: Kind, name: str, annotations: dict[str, str | None], namespace: str) -> Object:
        """Sets annotations in one merge-patch; None removes one."""
        return self.merge(kind, name, {"metadata": {"annotations": annotations}}, namespace)

    def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        """Asks for it and does not wait; what is gone already is fine."""
        try:
            self.call("DELETE", kind.path(namespace, name), {"propagationPolicy": "Background"})
        except RefusedError as refused:
            if refused.code != http.HTTPStatus.NOT_FOUND:
                raise

    def watch(self, path: str, *, seconds: float, **query: str) -> Iterator[tuple[str, Object]]:
        """(ADDED | MODIFIED | DELETED | ERROR, object), as they arrive, for so many seconds."""
        query = {"watch": "1", "timeoutSeconds": str(max(1, int(seconds))), **query}
        with self._answer("GET", f"{path}?{urllib.parse.urlencode(query)}", None, "", seconds + 5) as answer:
            while line := answer.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
