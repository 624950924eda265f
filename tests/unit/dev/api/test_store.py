"""The store: versions that only grow, writes over what was read, and a history that ends somewhere."""

import pytest

from knative_mig.dev.api.store import Change, Forgotten, Key, Object, Outdated, Store
from tests.rigs.api_server import Rig

_KEY = Key("pods", "default", "a")


def _named(name: str, **more: object) -> Object:
    return {"kind": "Pod", "metadata": {"name": name}, **more}


def test_each_write_has_the_next_version_and_carries_it() -> None:
    store = Store()
    first = store.put(_KEY, _named("a"), over=0)
    second = store.put(_KEY, _named("a", spec=1), over=first.version)
    assert second.version == first.version + 1
    assert second.body["metadata"]["resourceVersion"] == str(second.version)
    assert first.body["metadata"]["resourceVersion"] == str(first.version)  # whoever was given it may keep it


def test_a_write_over_another_version_is_outdated() -> None:
    store = Store()
    store.put(_KEY, _named("a"), over=0)
    with pytest.raises(Outdated):
        store.put(_KEY, _named("a"), over=0)
    with pytest.raises(Outdated):
        store.remove(_KEY, over=1)


def test_a_list_is_in_the_order_of_names_and_of_a_moment() -> None:
    store = Store()
    for name in ("b", "a"):
        store.put(Key("pods", "default", name), _named(name), over=0)
    found, version = store.all("pods")
    store.put(Key("pods", "default", "c"), _named("c"), over=0)
    gone = store.read(Key("pods", "default", "a"))
    assert gone
    store.remove(Key("pods", "default", "a"), over=gone.version)
    assert [each.body["metadata"]["name"] for each in found] == ["a", "b"]
    assert [each.body["metadata"]["name"] for each in store.all("pods", at=version)[0]] == ["a", "b"]
    assert [each.body["metadata"]["name"] for each in store.all("pods")[0]] == ["b", "c"]


def test_a_listener_hears_of_each_change_in_its_order() -> None:
    store = Store()
    heard: list[Change] = []
    end = store.listen(heard.append)
    made = store.put(_KEY, _named("a"), over=0)
    store.remove(_KEY, over=made.version)
    end()
    store.put(_KEY, _named("a"), over=0)
    assert [(each.version, each.after is None) for each in heard] == [(made.version, False), (made.version + 1, True)]


def test_the_end_of_an_object_is_told_as_it_was_last() -> None:
    store = Store()
    made = store.put(_KEY, _named("a", spec=1), over=0)
    store.remove(_KEY, over=made.version, last_words=_named("a", spec=2))
    change = store.since("pods", made.version)[0]
    assert change.before
    assert change.before.body["spec"] == 2


def test_who_is_too_far_behind_is_told_so() -> None:
    store = Store(kept=2)
    start = store.version
    for name in ("a", "b", "c"):
        store.put(Key("pods", "default", name), _named(name), over=0)
    store.put(Key("leases", "default", "x"), _named("x"), over=0)  # another resource's history is its own
    with pytest.raises(Forgotten):
        store.since("pods", start)
    assert [each.key.name for each in store.since("pods", start + 1)] == ["b", "c"]
    store.forget()
    with pytest.raises(Forgotten):
        store.since("pods", start + 1)


def test_so_much_is_known_of_the_past_that_a_watch_may_be_late_and_no_more_than_is_worth_its_memory() -> None:
    store = Store()
    versions = [store.put(Key("pods", "default", str(n)), _named(str(n)), over=0).version for n in range(1025)]
    assert len(store.since("pods", versions[0])) == 1024
    with pytest.raises(Forgotten):
        store.since("pods", versions[0] - 1)


def test_of_large_objects_less_of_the_past_is_known() -> None:
    """They are strings of a hundred thousand, and of a million for what is remembered of all of them."""
    store = Store(kept_bytes=1_000_000)
    versions = [store.version]
    for number in range(30):
        large = chr(ord("a") + number % 26) * 100_000
        versions.append(store.put(_KEY, _named("a", data=large), over=versions[-1] if number else 0).version)
    assert len(store.since("pods", versions[-9])) == 8
    with pytest.raises(Forgotten):
        store.since("pods", versions[-12])
    store.remove(_KEY, over=versions[-1])
    with pytest.raises(Forgotten):
        store.since("pods", versions[-11])
    for number in range(40):
        store.put(Key("pods", "default", str(number)), _named(str(number)), over=0)
    assert len(store.since("pods", versions[-1])) == 41  # what is small is remembered when the large is forgotten
    for number in range(2):
        store.put(Key("pods", "default", f"too-large-{number}"), _named("b", data="b" * 1_000_001), over=0)
    assert store.since("pods", store.version) == []


def test_a_snapshot_is_a_store_again() -> None:
    store = Store()
    made = store.put(_KEY, _named("a"), over=0)
    again = Store()
    again.restore(*store.snapshot())
    found = again.read(_KEY)
    assert found
    assert (found.body, found.version, again.version) == (made.body, made.version, store.version)
    with pytest.raises(Forgotten):
        again.since("pods", made.version - 1)
    changes: list[Change] = again.since("pods", again.version)
    assert changes == []


def test_a_server_goes_on_from_a_snapshot_with_the_kinds_that_were_defined() -> None:
    definition = {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    }
    rig = Rig()
    rig.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.example.com", spec=definition)
    made = rig.create("/apis/example.com/v1/widgets", "w")
    store = Store()
    store.restore(*rig.server.store.snapshot())
    assert Rig(store=store).get("/apis/example.com/v1/widgets/w") == made
