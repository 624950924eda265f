"""Draws what is sent: more than half of it one change from valid, the rest valid or further. A seed draws the same.

Called by `campaign`, for each connection with a chance of its own.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from random import Random
from typing import Any, Final

from tests.fuzz_campaign import events, reviews
from tests.fuzz_campaign.draft import Change, Degree, Draft, Sent
from tests.fuzz_campaign.http_changes import HARMLESS, HTTP_CHANGES
from tests.fuzz_campaign.json_changes import JSON_CHANGES

RARELY: Final = 0.002  # what weighs megabytes
IN_ONE_GO: Final = 0.03
NOISE: Final = 0.2  # of what is far from valid


class Door(StrEnum):
    SINK = "sink"
    WEBHOOK = "webhook"


_OWN: Final[Mapping[Door, Mapping[str, Change]]] = {
    Door.SINK: events.EVENT_CHANGES,
    Door.WEBHOOK: reviews.REVIEW_CHANGES,
}


class Mix:
    def __init__(self, door: Door, seed: str) -> None:
        self._door = door
        self._seed = seed
        self._chance = Random(f"{seed}/{door}")
        self._number = 0
        self._last: Sent | None = None  # the last valid event

    def drawn(self, count: int) -> Iterator[list[Sent]]:
        """So many, in parcels: what is in one is sent at once, without waiting for answers in between."""
        while count > 0:
            size = min(count, self._chance.randrange(2, 9) if self._chance.random() < IN_ONE_GO else 1)
            parcel = [self._valid(plain=True) for _ in range(size - 1)]
            yield [*parcel, self._one()]
            count -= size

    def plain(self) -> Sent:
        """A valid one, and a small one."""
        return self._valid(plain=True)

    def _one(self) -> Sent:
        draw = self._chance.random()
        if draw < 0.15:
            return self._valid()
        return self._away() if draw < 0.75 else self._far()

    def _valid(self, *, plain: bool = False) -> Sent:
        if self._door is Door.SINK and self._last and self._chance.random() < 0.05:
            return self._last
        kind, draft, uid, allowed = self._fresh(plain=plain)
        for name in self._chance.sample(tuple(HARMLESS), self._chance.choice((0, 0, 1, 2))):
            HARMLESS[name](draft, self._chance)
        tree: Any = draft.tree
        found = tree["request"]["object"] if self._door is Door.WEBHOOK else None
        sent = Sent(kind=kind, degree=Degree.VALID, data=draft.encoded(), uid=uid, allowed=allowed, object=found)
        if self._door is Door.SINK:
            self._last = sent
        return sent

    def _fresh(self, *, plain: bool = False) -> tuple[str, Draft, str, bool]:
        """`plain`: nothing that is large."""
        self._number += 1
        chance, rare = self._chance, not plain and self._chance.random() < RARELY
        uid = f"{self._seed}-{self._number:08x}"
        if self._door is Door.SINK:
            make = events.largest if rare else events.ignored if chance.random() < 0.1 else events.valid
            kind, draft = make(chance, uid)
            return kind, draft, uid, True
        kind, draft, allowed = (reviews.large if rare else reviews.valid)(chance, uid)
        return kind, draft, uid, allowed

    def _changes(self) -> tuple[str, Change]:
        chance = self._chance
        if self._door is Door.WEBHOOK and chance.random() < RARELY:
            return chance.choice(tuple(reviews.RARE_REVIEW_CHANGES.items()))
        table = chance.choice((_OWN[self._door], HTTP_CHANGES, JSON_CHANGES, JSON_CHANGES))
        return chance.choice(tuple(table.items()))

    def _away(self) -> Sent:
        _, draft, uid, _ = self._fresh(plain=True)
        name, change = self._changes()
        change(draft, self._chance)
        return _sent(name, Degree.ONE, draft, uid)

    def _far(self) -> Sent:
        chance = self._chance
        if chance.random() < NOISE:
            noise = chance.randbytes(chance.choice((1, 20, 500, 5000)))
            return Sent(kind="noise", degree=Degree.MANY, data=noise + chance.choice((b"", b"\r\n\r\n")), framed=False)
        _, draft, uid, _ = self._fresh(plain=True)
        many = chance.randrange(2, 6)
        for _ in range(many):
            _, change = self._changes()
            change(draft, chance)
        return _sent("several changes", Degree.MANY, draft, uid)


def _sent(kind: str, degree: Degree, draft: Draft, uid: str) -> Sent:
    return Sent(
        kind=kind, degree=degree, data=draft.encoded(), framed=draft.framed, bodiless=draft.method == b"HEAD", uid=uid
    )
