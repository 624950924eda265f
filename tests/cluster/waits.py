"""Waits: on an object of the API by a watch, and on anything else by asking again. No test sleeps by itself.

A wait that ends without what it waited for says what it saw last. Deadlines are generous: they bound a broken run
and measure nothing.
"""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from tests.cluster.api import Api, Kind, Named, Object, RefusedError
from tests.cluster.testbed.errors import ClusterError

T = TypeVar("T")

PATIENCE_SECONDS: Final = 90.0
_GONE: Final = 410
_AGAIN_SECONDS: Final = 0.1

World = dict[str, Object]  # the objects that a wait looks at, by name


class NotSeenError(AssertionError):
    pass


def until_all(
    api: Api,
    kind: Kind,
    namespace: str | None,
    what: str,
    look: Callable[[World], T | None],
    *,
    seconds: float = PATIENCE_SECONDS,
    **query: str,
) -> T:
    """Watches a collection until `look` finds what it wants in it (anything but None and False)."""
    deadline = time.monotonic() + seconds
    world: World = {}
    troubles: list[Exception] = []
    for world in _worlds(api, kind.path(namespace), deadline, query, troubles):
        if (found := look(world)) not in (None, False):
            assert found is not None
            return found
    trouble = f"; last trouble with the API server: {troubles[-1]}" if troubles else ""
    raise NotSeenError(f"{what}: not after {seconds:.0f} s; seen last: {_told(world)}{trouble}")


def until(
    api: Api,
    where: Named,
    what: str,
    look: Callable[[Object], T | None],
    *,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Watches one object."""

    def look_at_it(world: World) -> T | None:
        return look(world[where.name]) if where.name in world else None

    told = f"{where} {what}"
    return until_all(api, where.kind, where.namespace, told, look_at_it, seconds=seconds, **where.query)


def until_gone(api: Api, where: Named, *, seconds: float = PATIENCE_SECONDS) -> float:
    """When it went, on the monotonic clock."""

    def gone(world: World) -> bool:
        return where.name not in world

    until_all(api, where.kind, where.namespace, f"{where} is gone", gone, seconds=seconds, **where.query)
    return time.monotonic()


def _worlds(api: Api, path: str, deadline: float, query: dict[str, str], troubles: list[Exception]) -> Iterator[World]:
    """The collection after each change, until the deadline; survives a restart of the API server."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            listed = api.call("GET", f"{path}?{_encoded(query)}", timeout=max(1.0, min(left, 15)))
            world = {item["metadata"]["name"]: item for item in listed["items"]}
            yield dict(world)
            version = listed["metadata"]["resourceVersion"]
            left = deadline - time.monotonic()
            for kind, item in api.watch(path, seconds=max(1.0, min(left, 30)), resourceVersion=version, **query):
                if kind == "ERROR":
                    break  # the version is too old: list anew
                name = item["metadata"]["name"]
                if kind == "DELETED":
                    world.pop(name, None)
                else:
                    world[name] = item
                yield dict(world)
                if time.monotonic() > deadline:
                    return
        except (OSError, http.client.HTTPException, RefusedError, json.JSONDecodeError) as trouble:
            if isinstance(trouble, RefusedError) and trouble.code < 500 and trouble.code not in (404, 429, _GONE):
                raise
            troubles.append(trouble)
            time.sleep(_AGAIN_SECONDS)


def _encoded(query: dict[str, str]) -> str:
    return "&".join(f"{key}={value}" for key, value in query.items())


def eventually(
    what: str,
    attempt: Callable[[], T],
    accept: Callable[[T], bool] = bool,
    *,
    seconds: float = PATIENCE_SECONDS,
    every: float = _AGAIN_SECONDS,
) -> T:
    """Asks again until the answer is accepted. For what has no watch: an HTTP answer, a file, a process."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            last: T | Exception = attempt()
        except (OSError, http.client.HTTPException, RefusedError, ClusterError, AssertionError) as trouble:
            last = trouble
        if not isinstance(last, Exception) and accept(last):
            return last
        if time.monotonic() > deadline:
            raise NotSeenError(f"{what}: not after {seconds:.0f} s; seen last: {str(last)[:600]}")
        time.sleep(every)


@contextlib.contextmanager
def recorded(
    api: Api, kind: Kind, namespace: str | None, note: Callable[[float, str, Object], None], **query: str
) -> Iterator[None]:
    """Calls `note(arrival on the monotonic clock, event, object)` for each change while the body runs."""
    listed = api.call("GET", f"{kind.path(namespace)}?{_encoded(query)}")
    version, over = listed["metadata"]["resourceVersion"], threading.Event()

    def follow() -> None:
        # A test that missed a change says so itself.
        with contextlib.suppress(OSError, http.client.HTTPException, RefusedError, json.JSONDecodeError):
            for event, item in api.watch(kind.path(namespace), seconds=600, resourceVersion=version, **query):
                if over.is_set() or event == "ERROR":
                    return
                note(time.monotonic(), event, item)

    # A daemon: it ends with the next event or with the run, whichever is first.
    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        over.set()


# ---------------------------------------------------------------- conditions


def condition(item: Object, kind: str = "Ready") -> Object:
    """One condition of an object; empty where it has none yet."""
    found: Iterable[Object] = item.get("status", {}).get("conditions", [])
    return next((entry for entry in found if entry["type"] == kind), {})


def is_true(item: Object, kind: str = "Ready") -> bool:
    """Whether the condition holds for the object as it is written now, not for an older generation of it."""
    seen = item.get("status", {}).get("observedGeneration", item["metadata"].get("generation"))
    return bool(condition(item, kind).get("status") == "True" and seen == item["metadata"].get("generation"))


def _told(world: World) -> str:
    return "; ".join(summary(item) for item in world.values())[:3000] or "no such object"


def summary(item: Object) -> str:
    """An object on one line: its phase and each condition that is not plainly fine."""
    status = item.get("status", {})
    words = [item["metadata"]["name"], *([status["phase"]] if "phase" in status else [])]
    words += [
        f"{entry['type']}={entry['status']}"
        + (f"({entry.get('reason', '')}: {entry.get('message', '')[:200]})" if entry["status"] != "True" else "")
        for entry in status.get("conditions", [])
    ]
    if "deletionTimestamp" in item["metadata"]:
        words.append("being deleted")
    return " ".join(words)
