"""Watches: from one moment on, in order, nothing twice and nothing missed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from knative_mig.dev.http.messages import Request
from tests.rigs.api_server import CONFIG_MAPS, GPU_NODES, PODS, Answered, Rig, gpu_node

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class _Watch:
    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    async def next(self) -> tuple[str, Any]:
        while not self._lines:
            self._lines = (await anext(self._stream)).splitlines()
        event = json.loads(self._lines.pop(0))
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(type_, body["metadata"].get("name", "")) for type_, body in events]

    async def ended(self) -> bool:
        try:
            await self.next()
        except StopAsyncIteration:
            return True
        return False


@asynccontextmanager
async def _watching(rig: Rig, path: str, query: str = "", accept: str = "") -> AsyncIterator[_Watch]:
    headers = {"host": "localhost", "accept": accept}
    target = f"{path}?watch=1&allowWatchBookmarks=true&{query}"
    answer = rig.server.service.handle(Request(method="GET", target=target, headers=headers))
    assert answer.stream is not None, answer.body
    stream: Any = answer.stream
    try:
        yield _Watch(stream)
    finally:
        await stream.aclose()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _version(rig: Rig) -> str:
    return f"resourceVersion={rig.server.store.version}"


def test_what_happens_is_told_as_it_happens(rig: Rig) -> None:
    async def story() -> None:
        async with _watching(rig, CONFIG_MAPS, _version(rig)) as watch:
            rig.create(CONFIG_MAPS, "a")
            rig.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "y"}})
            rig.create("/api/v1/namespaces/kube-system/configmaps", "elsewhere")
            rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x"}]})
            rig.delete(f"{CONFIG_MAPS}/a")
            assert await watch.names(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    asyncio.run(story())


def test_it_begins_where_a_list_ended(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "before")
        then = _version(rig)
        rig.create(CONFIG_MAPS, "between")
        async with _watching(rig, CONFIG_MAPS, then) as watch:
            rig.create(CONFIG_MAPS, "after")
            assert await watch.names(2) == [("ADDED", "between"), ("ADDED", "after")]

    asyncio.run(story())


def test_who_names_no_version_is_told_first_what_there_is(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "a")
        async with _watching(rig, CONFIG_MAPS) as watch:
            rig.create(CONFIG_MAPS, "b")
            assert await watch.names(2) == [("ADDED", "a"), ("ADDED", "b")]

    asyncio.run(story())


def test_a_streamed_list_ends_with_a_bookmark(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "a")
        query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        async with _watching(rig, CONFIG_MAPS, query) as watch:
            assert await watch.names(1) == [("ADDED", "a")]
            type_, body = await watch.next()
            assert type_ == "BOOKMARK"
            assert body["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            assert body["metadata"]["resourceVersion"] == str(rig.server.store.version)

    asyncio.run(story())
    with pytest.raises(Answered, match="requires setting resourceVersionMatch to NotOlderThan"):
        rig.get(f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true")


def test_an_object_comes_and_goes_with_what_selects_it(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "a")
        async with _watching(rig, CONFIG_MAPS, f"{_version(rig)}&labelSelector=x%3Dy") as watch:
            rig.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": "y"}}})
            rig.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "y"}})
            rig.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": None}}})
            rig.delete(f"{CONFIG_MAPS}/a")
            rig.create(CONFIG_MAPS, "b", metadata={"labels": {"x": "y"}})
            assert await watch.names(4) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]

    asyncio.run(story())


def test_it_ends_in_time_with_a_bookmark(rig: Rig) -> None:
    async def story() -> None:
        async with _watching(rig, CONFIG_MAPS, f"{_version(rig)}&timeoutSeconds=0.01") as watch:
            type_, body = await watch.next()
            assert (type_, body["metadata"]["resourceVersion"]) == ("BOOKMARK", str(rig.server.store.version))
            assert await watch.ended()

    asyncio.run(story())


def test_who_is_too_far_behind_is_told_that_it_expired(rig: Rig) -> None:
    async def story() -> None:
        then = _version(rig)
        rig.create(CONFIG_MAPS, "a")
        rig.server.store.forget()
        async with _watching(rig, CONFIG_MAPS, then) as watch:
            type_, body = await watch.next()
            assert (type_, body["code"], body["reason"]) == ("ERROR", 410, "Expired")
            assert "too old resource version" in body["message"]
            assert await watch.ended()

    asyncio.run(story())


@pytest.mark.parametrize("begins", ["with what there is", "where a list ended", "later"])
@pytest.mark.parametrize(("size", "most", "together"), [(100_000, 101_000, 1), (10, 64_000, 100)])
def test_so_much_goes_out_together_as_a_socket_takes_at_once(
    rig: Rig, begins: str, size: int, most: int, together: int
) -> None:
    async def story() -> None:
        version = "" if begins == "with what there is" else _version(rig)
        if begins == "later":
            rig.create(CONFIG_MAPS, "first")
        headers = {"host": "localhost"}
        target = f"{CONFIG_MAPS}?watch=1&{version}"
        answer = rig.server.service.handle(Request(method="GET", target=target, headers=headers))
        stream: Any = answer.stream
        if begins == "later":
            await anext(stream)
        for number in range(100):
            rig.create(CONFIG_MAPS, str(number), data={"x": "x" * size})
        piece = await anext(stream)
        assert len(piece) < most
        assert piece.count(b"\n") == together
        await stream.aclose()

    asyncio.run(story())


def test_who_takes_nothing_while_much_happens_is_told_that_it_fell_behind_and_holds_nothing(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "a")
        async with _watching(rig, CONFIG_MAPS, _version(rig)) as watch:
            rig.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "first"}})
            assert (await watch.next())[0] == "MODIFIED"
            for number in range(150):
                rig.merge(f"{CONFIG_MAPS}/a", {"data": {"x": chr(ord("A") + number % 50) * 500_000}})
            assert rig.server.watches.waiting == 0
            type_, body = await watch.next()
            assert (type_, body["code"], body["reason"]) == ("ERROR", 410, "Expired")
            assert await watch.ended()

    asyncio.run(story())


def test_who_was_behind_and_has_caught_up_may_fall_behind_as_far_again(rig: Rig) -> None:
    async def story() -> None:
        rig.create(CONFIG_MAPS, "a")
        async with _watching(rig, CONFIG_MAPS, _version(rig)) as watch:
            for _ in range(4):
                for number in range(40):
                    rig.merge(f"{CONFIG_MAPS}/a", {"data": {"x": chr(ord("A") + number) * 500_000}})
                assert [type_ for type_, _ in await watch.names(40)] == ["MODIFIED"] * 40

    asyncio.run(story())


def test_only_the_first_of_a_table_names_its_columns(rig: Rig) -> None:
    async def story() -> None:
        async with _watching(rig, GPU_NODES, _version(rig), accept=_TABLE) as watch:
            rig.create(GPU_NODES, "a", spec=gpu_node(1, 0))
            rig.merge(f"{GPU_NODES}/a", {"spec": {"fencingToken": 2}})
            (_, first), (_, second) = await watch.next(), await watch.next()
            assert first["columnDefinitions"][0]["name"] == "Name"
            assert second["columnDefinitions"] is None
            assert second["rows"][0]["cells"][0] == "a"

    asyncio.run(story())


def test_a_watcher_that_goes_leaves_nothing(rig: Rig) -> None:
    async def story() -> None:
        async with _watching(rig, CONFIG_MAPS) as watch:
            rig.create(CONFIG_MAPS, "a")
            await watch.names(1)
            assert rig.server.watches.count == 1
        assert rig.server.watches.count == 0

    asyncio.run(story())


def test_all_end_when_the_server_does(rig: Rig) -> None:
    async def story() -> None:
        async with _watching(rig, CONFIG_MAPS) as watch:
            rig.create(CONFIG_MAPS, "a")
            await watch.names(1)
            rig.server.watches.end()
            assert await watch.ended()

    asyncio.run(story())


@pytest.mark.parametrize("seconds", ["nix", "nan", "inf", "-inf"])
def test_an_end_that_is_no_number_is_refused(rig: Rig, seconds: str) -> None:
    code, said, _ = rig.send("GET", f"{CONFIG_MAPS}?watch=1&timeoutSeconds={seconds}")
    assert code == 400
    assert f'timeoutSeconds is \\"{seconds}\\", not a number' in said.decode()
