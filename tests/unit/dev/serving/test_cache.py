"""What a controller sees of its own writes before the mirrors have them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from knative_mig.adapters.kube.kinds import POD
from knative_mig.dev.serving.cache import AWAITED_S, Cache
from knative_mig.dev.serving.objects import Object
from knative_mig.ports.kube import Key

KEY = Key("default", "p")


@dataclass(slots=True)
class Behind:
    """A mirror that has what the test says."""

    has: dict[Key, Object] = field(default_factory=dict)

    def snapshot(self) -> Mapping[Key, Object]:
        return dict(self.has)

    def get(self, key: Key) -> Object | None:
        return self.has.get(key)

    @property
    def synced(self) -> bool:
        return True

    def age_s(self, now: float) -> float:
        return now - now

    def on_change(self, wake: Callable[[Key], None]) -> None:
        """Nobody is woken."""


def pod(version: int, uid: str = "u", name: str = "p") -> Object:
    about = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": about}


class World:
    def __init__(self) -> None:
        self.mirror = Behind()
        self.now = 0.0
        self.cache = Cache({POD: self.mirror}, lambda: self.now)

    def seen(self) -> Object | None:
        return self.cache.objects()[POD].get(KEY)


def test_what_was_made_is_seen_at_once_and_given_up_when_it_never_comes() -> None:
    world = World()
    world.cache.wrote(POD, pod(5), new=True)
    assert world.seen() == pod(5)
    world.now = AWAITED_S
    assert world.seen() is None


def test_the_newer_of_the_two_is_seen() -> None:
    world = World()
    world.mirror.has[KEY] = pod(4)
    world.cache.wrote(POD, pod(5))
    assert world.seen() == pod(5)
    world.mirror.has[KEY] = pod(6)
    assert world.seen() == pod(6)


def test_what_is_seen_is_in_the_order_of_its_names_whatever_came_first() -> None:
    world = World()
    world.mirror.has |= {Key("default", name): pod(1, name=name) for name in "db"}
    assert [key.name for key in world.cache.objects()[POD]] == ["b", "d"]
    world.mirror.has[Key("default", "a")] = pod(2, name="a")
    world.cache.wrote(POD, pod(5, name="c"), new=True)
    assert [key.name for key in world.cache.objects()[POD]] == ["a", "b", "c", "d"]


def test_what_was_deleted_is_gone_although_the_mirror_has_it_and_its_successor_is_not() -> None:
    world = World()
    world.mirror.has[KEY] = pod(4)
    world.cache.deleted(POD, KEY, "u")
    assert world.seen() is None
    world.mirror.has[KEY] = pod(9, uid="another")
    assert world.seen() == pod(9, uid="another")


def test_what_somebody_deletes_after_it_was_written_here_is_gone() -> None:
    world = World()
    world.mirror.has[KEY] = pod(4)
    world.cache.wrote(POD, pod(5))
    del world.mirror.has[KEY]
    assert world.seen() is None
    world.cache.wrote(POD, pod(7), new=True)
    world.cache.wrote(POD, pod(8))
    assert world.seen() == pod(8)
    world.cache.gone(POD, KEY)
    assert world.seen() is None
