"""A history of one revision as it is played to both autoscalers: all that comes from without, step by step.

Drawn by `draw`, played by `player` and, as a JSON line, by the Go program in `oracle/`, whose types these mirror. Times
are whole 64ths of a second since the beginning, so that floats and Go's nanoseconds hold each of them exactly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

UNITS: Final = 64  # in a second
EPOCH: Final = 946_684_800  # virtual time of Go's begins with the year 2000


def moment(units: int) -> float:
    return EPOCH + units / UNITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of a second, by an activator or by a scrape. `values`: concurrent, proxied of them, requests, proxied of them."""

    when: int
    values: tuple[float, float, float, float]
    by_activator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """At one moment. None: as it was. The first step has it all."""

    at: int
    config: Mapping[str, str] | None = None
    deployment: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    concurrency: int | None = None
    reachable: str | None = None
    restart: bool = False  # of the autoscaler
    pods: tuple[int, int, int, int, int] | None = None  # ready, not ready, pending, going, over
    route: tuple[int, int, int] | None = None  # has its services, is ready, when activators came in (-1: they are not)
    replicas: int | None = None  # as somebody else wrote them
    answers: bool | None = None  # an activator, to a probe
    stats: tuple[Told, ...] = ()

    def to_json(self) -> dict[str, Any]:
        words = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("restart", "stats"):
            if not words[name]:
                del words[name]
        return words

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "Step":
        known = {each.name for each in fields(cls)}
        values = {name: _frozen(value) for name, value in words.items() if name in known}
        stats = tuple(
            Told(when=each["when"], values=tuple(each["values"]), by_activator=each["by_activator"])
            for each in words.get("stats", ())
        )
        return cls(**{**values, "stats": stats})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str  # says how to draw it again
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "steps": [each.to_json() for each in self.steps]}

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "Series":
        return cls(name=words["name"], steps=tuple(Step.from_json(each) for each in words["steps"]))
