"""The conditions of a Knative object while a pass works on them: those that it depends on, and Ready of them all.

Used by every stand-in that writes a status of Knative's kinds. The subtle thing is what Ready says when several
conditions are unhappy: the one that changed last, and a False before an Unknown, so that the order in which a pass
marks them is to be seen in `kubectl get` and is therefore Knative's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor
from typing import Any, Final

from knative_mig.adapters.kube.fields import seconds_of, time_text

Object = dict[str, Any]
READY: Final = "Ready"
_BUMPED: Final = ("NewObservedGenFailure", "unsuccessfully observed a new generation")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    status: str
    reason: str
    message: str
    severity: str
    since: float
    turn: int = 0  # above 0: changed in this pass, as its so-manieth change

    @property
    def words(self) -> tuple[str, str, str, str]:
        return self.status, self.reason, self.message, self.severity


class Conditions:
    """`needed`: what has to be True for Ready; others are only told of."""

    def __init__(self, body: Mapping[str, Any], needed: tuple[str, ...], now: float) -> None:
        self._needed = needed
        self._now = now
        self._turn = 0
        status = body.get("status") or {}
        self._before = {each["type"]: each for each in status.get("conditions") or ()}
        self._said = {name: _said(each) for name, each in self._before.items()}
        generation = body["metadata"].get("generation")
        self._initialize()
        if status.get("observedGeneration") != generation:
            self.unknown(READY, *_BUMPED)

    def _initialize(self) -> None:
        if READY not in self._said:
            self._say(READY, "Unknown", "", "")
        first = "True" if self.is_true(READY) else "Unknown"
        for name in self._needed:
            if name not in self._said:
                self._say(name, first, "", "")

    def of(self, name: str) -> str:
        """Its status; empty: nobody has said anything."""
        return self._said[name].status if name in self._said else ""

    def is_true(self, name: str) -> bool:
        return self.of(name) == "True"

    def is_false(self, name: str) -> bool:
        return self.of(name) == "False"

    def true(self, name: str, reason: str = "", message: str = "") -> None:
        self._say(name, "True", reason, message)
        if unhappy := self._unhappy():
            self._say(READY, *unhappy)
        elif name != READY:
            self._say(READY, "True", "", "")

    def unknown(self, name: str, reason: str = "", message: str = "") -> None:
        self._say(name, "Unknown", reason, message)
        if any(self.is_false(each) for each in self._needed):
            if not self.is_false(READY):
                self._say(READY, "False", reason, message)
        elif name in self._needed:
            self._say(READY, "Unknown", reason, message)

    def false(self, name: str, reason: str, message: str) -> None:
        self._say(name, "False", reason, message)
        if name in self._needed:
            self._say(READY, "False", reason, message)

    def told(self, name: str, status: str, reason: str, message: str) -> None:
        """Beside all others: Ready is not touched by it."""
        self._say(name, status, reason, message)

    def mark(self, name: str, status: str, reason: str, message: str) -> None:
        """As another object's condition has it. What is True needs no reason."""
        match status:
            case "True":
                self.true(name)
            case "False":
                self.false(name, reason, message)
            case _:
                self.unknown(name, reason, message)

    def written(self) -> list[Object]:
        """By type, as the API has them; a time is that of the last change of anything in its condition."""
        found = []
        for name, said in sorted(self._said.items()):
            body = _body(name, said)
            before = self._before.get(name)
            since = None
            if before is not None and _same(before, body):
                since = before.get("lastTransitionTime")
            found.append({**body, "lastTransitionTime": since or time_text(floor(self._now))})
        return found

    def _say(self, name: str, status: str, reason: str, message: str) -> None:
        severity = "" if name in (*self._needed, READY) else "Info"
        said = _Said(status=status, reason=reason, message=message, severity=severity, since=self._now)
        if name in self._said and self._said[name].words == said.words:
            return
        self._turn += 1
        self._said[name] = replace(said, turn=self._turn)

    def _unhappy(self) -> tuple[str, str, str] | None:
        if not self._needed:
            return None
        told = [each for name, each in self._said.items() if name != READY and not each.severity]
        told.sort(key=lambda each: (each.turn, each.since), reverse=True)
        for status in ("False", "Unknown"):
            for each in told:
                if each.status == status:
                    return each.status, each.reason, each.message
        return ("Unknown", "", "") if len(self._needed) > len(told) else None


def _said(body: Mapping[str, Any]) -> _Said:
    when = body.get("lastTransitionTime")
    return _Said(
        status=body.get("status", "Unknown"),
        reason=body.get("reason", ""),
        message=body.get("message", ""),
        severity=body.get("severity", ""),
        since=seconds_of(when) if when else 0.0,
    )


def _body(name: str, said: _Said) -> Object:
    words = {"severity": said.severity, "reason": said.reason, "message": said.message}
    return {"type": name, "status": said.status, **{key: value for key, value in words.items() if value}}


def _same(before: Mapping[str, Any], body: Object) -> bool:
    return {key: value for key, value in before.items() if key != "lastTransitionTime" and value} == body
