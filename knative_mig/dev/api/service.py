"""One request in, one answer out: what the API server does, without a socket.

`answer` is what `http.server` calls on the event loop; it hands what computes to worker threads, where `handle` finds
what the request is about and who does it, and puts refusals in the words of a Status. Everything under /api and /apis
that names a kind goes through `routes`; discovery, OpenAPI, version and health are the rest.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import yaml

from knative_mig.dev.api import (
    deletion,
    discovery,
    negotiation,
    openapi_protobuf,
    pod_logs,
    reads,
    refusals,
    routes,
    subresources,
    watches,
    writes,
)
from knative_mig.dev.api.negotiation import JSON, YAML, Wanted
from knative_mig.dev.api.openapi import Documents
from knative_mig.dev.api.ports import Logs, LogsWanted
from knative_mig.dev.api.refusals import Refusal
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.selectors import of_selector
from knative_mig.dev.api.steps import World, Written
from knative_mig.dev.api.store import encoded
from knative_mig.dev.api.tables import Form
from knative_mig.dev.api.watches import Watches
from knative_mig.dev.http.messages import Answer, Request

_log = logging.getLogger(__name__)
Object = dict[str, Any]
TEXT: Final = "text/plain; charset=utf-8"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_REASONS: Final[Mapping[int, str]] = {
    400: "BadRequest",
    403: "Forbidden",
    413: "RequestEntityTooLarge",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    world: World
    watches: Watches
    documents: Documents
    logs: Logs
    workers: Executor

    async def answer(self, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.workers, self.handle, request)

    def handle(self, request: Request) -> Answer:
        try:
            _refuse_strangers(request)
            return self._handle(request)
        except Refusal as refused:
            return of_refusal(refused)
        except Exception as error:  # noqa: BLE001  whatever it is, the client is told, and the others are served
            _log.exception("%s %s failed", request.method, request.target[:200])
            return of_refusal(refusals.internal(f"{type(error).__name__}: {error}"))

    def _handle(self, request: Request) -> Answer:
        path, _ = routes.split(request.target)
        if (
            request.method in ("GET", "HEAD")
            and (found := self._document(path.rstrip("/") or "/", request)) is not None
        ):
            return found
        if not path.startswith(("/api/", "/apis/")):
            raise refusals.no_such_path(request.method, path)
        asked = routes.asked(request, self.world.kinds)
        if asked.below == "log":
            return self._logs(asked)
        if asked.watches:
            return self._watch(asked)
        if asked.verb == "list":
            wanted = negotiation.wanted(asked.accept, reads.FORMS_OF_ALL, asked.query.get("includeObject", ""))
            body = reads.all_shaped(self.world.store, asked, wanted.shape, self.world.now())
            return _answer(200, body, wanted)
        wanted = negotiation.wanted(asked.accept, reads.FORMS_OF_ONE, asked.query.get("includeObject", ""))
        if asked.verb == "get" and asked.below != "scale":
            stored = reads.one(self.world.store, asked)
            if not asked.kind.stored_as and wanted.shape.form is Form.OBJECT:
                return _answer(200, stored.json, wanted)
            return _answer(200, reads.one_shaped(stored.body, asked.kind, wanted.shape, self.world.now()), wanted)
        written = self._write(asked)
        shaped = encoded(written.body)
        if (written.body["kind"], written.body["apiVersion"]) == (
            asked.kind.kind,
            asked.kind.api_version,
        ) or asked.kind.stored_as:
            shaped = reads.one_shaped(written.body, asked.kind, wanted.shape, self.world.now())
        return _answer(written.code, shaped, wanted, _warnings(written.warnings))

    def _write(self, asked: Asked) -> Written:
        world = self.world
        if asked.kind.asked:
            return subresources.answered(world, asked)
        match asked.below, asked.verb:
            case "scale", _:
                return subresources.scale(world, asked)
            case "binding", _:
                return subresources.bind(world, asked)
            case "eviction", _:
                return deletion.evict(world, asked, self._held_up(asked))
            case _, "create":
                return writes.create(world, asked)
            case _, "update":
                return writes.update(world, asked)
            case _, "patch":
                return writes.patch(world, asked)
            case _, "delete":
                return deletion.delete(world, asked)
            case _, "deletecollection":
                return deletion.delete_all(world, asked)
        raise refusals.internal(f"{asked.verb} {asked.where} is nobody's")

    def _watch(self, asked: Asked) -> Answer:
        wanted = negotiation.wanted(
            asked.accept, (Form.TABLE, Form.METADATA, Form.METADATA_LIST), asked.query.get("includeObject", "")
        )
        wishes = watches.wishes_of(asked, wanted.shape, self.world.store.version)
        return Answer(status=200, content_type=JSON, stream=self.watches.stream(wishes))

    def _logs(self, asked: Asked) -> Answer:
        pod = reads.one(self.world.store, asked).body
        container = pod_logs.container_of(pod, asked.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            return Answer(status=204, content_type="")
        lines = self.logs.lines(
            LogsWanted(
                namespace=asked.namespace,
                pod=asked.name,
                uid=pod["metadata"]["uid"],
                container=container,
                life=pod_logs.life_of(pod, container, previous=_is_true(asked.query.get("previous"))),
                follow=_is_true(asked.query.get("follow")),
                timestamps=_is_true(asked.query.get("timestamps")),
                tail_lines=_number(asked.query, "tailLines"),
                since_s=_number(asked.query, "sinceSeconds"),
                most_bytes=_number(asked.query, "limitBytes"),
            )
        )
        return Answer(status=200, content_type=TEXT, stream=lines)

    def _held_up(self, asked: Asked) -> str:
        """By which disruption budget, as its controller reckoned it."""
        pod = reads.one(self.world.store, asked).body
        budgets = self.world.kinds.find("policy", "v1", "poddisruptionbudgets")
        for each in self.world.store.all(budgets.place)[0] if budgets else ():
            about, spec = each.body["metadata"], each.body.get("spec") or {}
            if about.get("namespace") != asked.namespace or not _selects(spec.get("selector"), pod):
                continue
            status = each.body.get("status") or {}
            if not status.get("disruptionsAllowed"):
                wanted, there = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
                return f"The disruption budget {about['name']} needs {wanted} healthy pods and has {there} currently"
        return ""

    # -- what is no object ---------------------------------------------------------------------------------------------

    def _document(self, path: str, request: Request) -> Answer | None:
        kinds, accept = self.world.kinds, request.headers.get("accept", "")
        steps = path.strip("/").split("/")
        match steps:
            case ["version"]:
                return _json(discovery.version())
            case ["api"] | ["apis"]:
                if discovery.wants_aggregated(accept):
                    found = discovery.aggregated(kinds, core=path == "/api")
                    return Answer(status=200, content_type=discovery.AGGREGATED, body=encoded(found))
                address = request.headers.get("host", "")
                return _json(discovery.core_versions(address) if path == "/api" else discovery.groups(kinds))
            case ["apis", group] if group in kinds.groups():
                return _json(discovery.group(kinds, group))
            case ["api", version]:
                listed = discovery.resources(kinds, "", version)
                return _json(listed) if listed else None
            case ["apis", group, version]:
                listed = discovery.resources(kinds, group, version)
                return _json(listed) if listed else None
            case ["openapi", "v3"]:  # JSON that the real one calls text
                return Answer(status=200, content_type=TEXT, body=encoded(self.documents.index()))
            case ["openapi", "v3", *rest]:
                found_document = self.documents.of("/".join(rest))
                return Answer(status=200, body=found_document) if found_document else None
            case ["openapi", "v2"]:
                if any(each.type in openapi_protobuf.ASKED_FOR for each in negotiation.ranges(accept)):
                    found_bytes = self.documents.second_as_protobuf()
                    return Answer(status=200, content_type=openapi_protobuf.MEDIA_TYPE, body=found_bytes)
                negotiation.wanted(accept, ())
                return Answer(status=200, body=self.documents.second())
            case [""]:
                return _json({"paths": ["/api", "/apis", *_HEALTH, "/openapi/v2", "/openapi/v3", "/version"]})
        return Answer(status=200, content_type=TEXT, body=b"ok") if path in _HEALTH else None


def of_refusal(refused: Refusal) -> Answer:
    after = (("Retry-After", str(refused.retry_after_s)),) if refused.retry_after_s else ()
    return Answer(status=refused.code, body=encoded(refused.body), headers=after)


def of_http(status: HTTPStatus, why: str) -> Answer:
    """What the HTTP side refuses before anybody knows what it is about."""
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        why = f"Request entity too large: {why}"
    return of_refusal(Refusal(int(status), _REASONS.get(int(status), "BadRequest"), why))


def _refuse_strangers(request: Request) -> None:
    """A page in a browser on this machine reaches loopback too, under a name of its own or with its origin."""
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() not in _LOOPBACK:
        raise Refusal(403, "Forbidden", f"the Host header {host[:100]!r} is not this machine's own name")
    if "origin" in request.headers:
        raise Refusal(403, "Forbidden", "no web page is answered here")


def _answer(code: int, body: bytes, wanted: Wanted, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    if wanted.media_type == YAML:
        text = yaml.safe_dump(json.loads(body), sort_keys=False, allow_unicode=True).encode()
        return Answer(status=code, content_type=YAML, body=text, headers=tuple(headers))
    return Answer(status=code, content_type=JSON, body=body, headers=tuple(headers))


def _json(body: Object) -> Answer:
    return Answer(status=200, body=encoded(body))


def _warnings(texts: Sequence[str]) -> list[tuple[str, str]]:
    """As RFC 7234 has them; a quote ends the text, so it is escaped."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ") for text in texts)
    return [("Warning", f'299 - "{text[:1000]}"') for text in escaped]


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("1", "true")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise refusals.bad_request(f'{name} is "{text}", not a number')
    return int(text)


def _selects(selector: Object | None, pod: Object) -> bool:
    return selector is not None and of_selector(selector).takes(pod)
