"""The function under test as tests see it: a Knative Service that is deployed, asked, watched and steered.

Its server is testbed/modules/own/function/main.go; `ask` speaks to it through Kourier as any client would, with the
Host header in place of DNS.
"""

import contextlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.api import AUTOSCALER, POD, REVISION, SERVERLESS_SERVICE, SERVICE, Api, Object
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import PATIENCE_SECONDS, eventually, is_true, until, until_all

MIN_SCALE: Final = "autoscaling.knative.dev/min-scale"
BURST_CAPACITY: Final = "autoscaling.knative.dev/target-burst-capacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Times are on the monotonic clock."""

    status: int
    headers: dict[str, str]
    text: str
    asked: float
    first_byte: float
    ended: float

    @property
    def json(self) -> Object:
        found: Object = json.loads(self.text)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    name: str
    namespace: str
    api: Api
    gateway: str
    domain: str

    # ------------------------------------------------------------ asking

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.{self.domain}"

    def ask(
        self,
        path: str = "/",
        *,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE_SECONDS,
        host: str | None = None,
    ) -> Answer:
        return ask(self.gateway, host or self.host, path, body=body, headers=headers, timeout=timeout)

    def report(self) -> Object:
        answer = self.ask("/report")
        assert answer.status == 200, f"{answer.status} {answer.text}"
        return answer.json

    def answers(self, path: str = "/", *, seconds: float = PATIENCE_SECONDS) -> Answer:
        """Asks until it answers 200; a request may be lost while something is broken on purpose."""
        return eventually(
            f"{self.name} answers",
            lambda: self.ask(path, timeout=10),
            lambda answer: answer.status == 200,
            seconds=seconds,
        )

    # ------------------------------------------------------------ looking

    @property
    def service(self) -> Object:
        return self.api.get(SERVICE, self.name, self.namespace)

    def revisions(self) -> list[str]:
        found = self.api.items(REVISION, self.namespace, labelSelector=f"serving.knative.dev/service={self.name}")
        return sorted(item["metadata"]["name"] for item in found)

    @property
    def revision(self) -> str:
        """The newest one that was created, Ready or not."""
        found = until(
            self.api, SERVICE.named(self.name, self.namespace), "has a revision",
            lambda item: item.get("status", {}).get("latestCreatedRevisionName"),
        )  # fmt: skip
        return str(found)

    def pods(self) -> list[Object]:
        """Those that are not being deleted, oldest first."""
        found = self.api.items(POD, self.namespace, labelSelector=f"serving.knative.dev/service={self.name}")
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def autoscaler(self, revision: str | None = None) -> Object:
        return self.api.get(AUTOSCALER, revision or self.revision, self.namespace)

    # ------------------------------------------------------------ waiting

    def wait_ready(self, *, seconds: float = PATIENCE_SECONDS) -> "Function":
        until(self.api, SERVICE.named(self.name, self.namespace), "is Ready", is_true, seconds=seconds)
        return self

    def wait_pods(self, number: int, *, seconds: float = PATIENCE_SECONDS) -> list[str]:
        """Waits until it has just so many pods, all Ready (those being deleted do not count); their names."""

        def right(world: dict[str, Object]) -> list[str] | None:
            alive = [pod for pod in world.values() if "deletionTimestamp" not in pod["metadata"]]
            names = [pod["metadata"]["name"] for pod in alive if is_true(pod)]
            return names if len(names) == len(alive) == number else None

        selector = f"serving.knative.dev/service={self.name}"
        told = f"{self.name} has {number} pods, all Ready"
        return until_all(self.api, POD, self.namespace, told, right, seconds=seconds, labelSelector=selector)

    def wait_zero(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """No pod but those being deleted, and the activator in the path: the next request is a cold start."""
        self.wait_pods(0, seconds=seconds)
        until(
            self.api, SERVERLESS_SERVICE.named(self.revision, self.namespace), "is in Proxy mode",
            lambda item: item["spec"]["mode"] == "Proxy", seconds=seconds,
        )  # fmt: skip

    # ------------------------------------------------------------ steering

    def annotate_revision(self, annotations: dict[str, str | None], revision: str | None = None) -> None:
        self.api.annotate(REVISION, revision or self.revision, annotations, self.namespace)


def manifest(
    name: str,
    *,
    annotations: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    image: str = FUNCTION_IMAGE,
    container: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """A Knative Service. Further arguments go into its revision template's spec (`timeoutSeconds=5`)."""
    body: Object = {
        "name": "user-container",
        "image": image,
        # What the restricted pod security level asks for: see that functions run so.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        **({"resources": {"limits": dict(limits)}} if limits else {}),
        **(container or {}),
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "template": {
                "metadata": {"annotations": dict(annotations or {})},
                "spec": {**spec, "containers": [body]},
            }
        },
    }


def ask(
    gateway: str,
    host: str,
    path: str = "/",
    *,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = PATIENCE_SECONDS,
) -> Answer:
    address, _, port = gateway.partition(":")
    connection = http.client.HTTPConnection(address, int(port or 80), timeout=timeout)
    with contextlib.closing(connection):
        asked = time.monotonic()
        connection.request("GET" if body is None else "POST", path, body, {"Host": host, **(headers or {})})
        answer = connection.getresponse()
        first_byte = time.monotonic()
        text = answer.read().decode(errors="replace")
        return Answer(
            status=answer.status,
            headers={key.lower(): value for key, value in answer.getheaders()},
            text=text,
            asked=asked,
            first_byte=first_byte,
            ended=time.monotonic(),
        )
