"""The API server of `dev` without a socket: requests in, answers out, on a clock that the test holds."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from knative_mig.dev.api.admission import Hook
from knative_mig.dev.api.ports import LogsWanted
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.api.store import Key, Store
from knative_mig.dev.http.messages import Request

Json = dict[str, Any]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
FUNCTIONS = "/apis/serving.knative.dev/v1/namespaces/default/services"
GPU_NODES = "/apis/knative-mig.dev/v1alpha1/gpunodes"


class NoLogs:
    async def lines(self, wanted: LogsWanted) -> AsyncIterator[bytes]:  # noqa: ARG002  the port's
        """Of containers that have said nothing."""
        yield b""


class Answered(Exception):
    """A refusal, as a test expects it."""

    def __init__(self, code: int, body: Json) -> None:
        super().__init__(f"{code} {body.get('reason')}: {body.get('message')}")
        self.code = code
        self.body = body


@cache
def _from_the_start() -> tuple[int, Mapping[Key, Json]]:
    """Made once: it takes longer than most tests."""
    return ApiServer(logs=NoLogs(), now=lambda: BEGAN).store.snapshot()


class Rig:
    def __init__(self, hooks: Sequence[Hook] = (), *, store: Store | None = None) -> None:
        self.now = BEGAN
        if store is None:
            store = Store()
            store.restore(*_from_the_start())
        self.hooks = list(hooks)
        self.server = ApiServer(logs=NoLogs(), hooks=lambda: self.hooks, now=lambda: self.now, store=store)
        self.warnings: list[str] = []

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def send(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {
            "host": "127.0.0.1",
            "user-agent": "tests/1",
            **{key.replace("_", "-"): each for key, each in headers.items()},
        }
        if body is not None:
            sent["content-type"] = content_type
        answer = self.server.service.handle(Request(method=method, target=path, headers=sent, body=data))
        self.warnings = [value for key, value in answer.headers if key == "Warning"]
        return answer.status, answer.body, {"content-type": answer.content_type, **dict(answer.headers)}

    def call(self, method: str, path: str, body: Any = None, **more: str) -> Json:
        code, data, _ = self.send(method, path, body, **more)
        found: Json = json.loads(data)
        if code >= 400:
            raise Answered(code, found)
        return found

    def get(self, path: str, **headers: str) -> Json:
        return self.call("GET", path, **headers)

    def create(self, path: str, name: str, **more: Any) -> Json:
        about = {"name": name, **more.pop("metadata", {})}
        return self.call("POST", path, {"metadata": about, **more})

    def merge(self, path: str, patch: Json) -> Json:
        return self.call("PATCH", path, patch, content_type="application/merge-patch+json")

    def apply(self, path: str, body: Json, manager: str, *, force: bool = False) -> Json:
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return self.call("PATCH", f"{path}{query}", body, content_type="application/apply-patch+yaml")

    def delete(self, path: str, **options: Any) -> Json:
        return self.call("DELETE", path, options or None)

    def settle(self) -> None:
        """What is garbage is collected."""
        self.server.garbage.settle()

    def names(self, path: str) -> list[str]:
        return [each["metadata"]["name"] for each in self.get(path)["items"]]


def gpu_node(token: int, *starts: int) -> Json:
    slices = [{"profile": "3g.20gb", "start": start, "size": 4} for start in starts]
    return {"fencingToken": token, "gpus": [{"uuid": "GPU-01234567-0123-0123-0123-0123456789ab", "slices": slices}]}
