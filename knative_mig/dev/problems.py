"""What is wrong with an object, said as Knative says it: each complaint once, with all the places that it is about.

Used by the stand-ins of Knative's webhooks. `below` narrows to a part of the object, so that a check names only what it
looks at.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    message: str
    paths: tuple[str, ...]
    details: str = ""
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Problems:
    found: list[Problem] = field(default_factory=list)
    where: str = ""

    def below(self, *steps: str | int) -> "Problems":
        where = self.where
        for step in steps:
            where = _joined(where, f"[{step}]" if isinstance(step, int) else step)
        return Problems(self.found, where)

    def say(self, message: str, *paths: str, details: str = "", is_warning: bool = False) -> None:
        """`paths` empty: it is about where this looks."""
        full = tuple(_joined(self.where, each) for each in paths or ("",))
        self.found.append(Problem(message=message, paths=full, details=details, is_warning=is_warning))

    def say_placeless(self, message: str) -> None:
        """As Knative does where it names what is wrong and not where."""
        self.found.append(Problem(message=message, paths=()))

    def missing(self, *paths: str) -> None:
        self.say("missing field(s)", *paths)

    def disallowed(self, *paths: str) -> None:
        self.say("must not set the field(s)", *paths)

    def invalid(self, value: object, path: str = "", *details: str) -> None:
        self.say(f"invalid value: {value}", path, details=", ".join(details))

    def out_of_bounds(self, value: object, least: object, most: object, path: str = "") -> None:
        self.say(f"expected {least} <= {value} <= {most}", path)

    def neither(self, *paths: str) -> None:
        self.say("expected exactly one, got neither", *paths)

    def both(self, *paths: str) -> None:
        self.say("expected exactly one, got both", *paths)

    def refusal(self) -> str:
        """Empty: there is nothing to refuse it for."""
        return "\n".join(_written(each for each in self.found if not each.is_warning))

    def warnings(self) -> tuple[str, ...]:
        return tuple(_written(each for each in self.found if each.is_warning))


def _joined(where: str, path: str) -> str:
    if not path or not where:
        return where or path
    return f"{where}{path}" if path.startswith("[") else f"{where}.{path}"


def _written(problems: Iterable[Problem]) -> list[str]:
    paths: dict[tuple[str, str], set[str]] = {}
    for each in problems:
        paths.setdefault((each.message, each.details), set()).update(each.paths)
    found = []
    for (message, details), where in sorted(paths.items()):
        text = f"{message}: {', '.join(sorted(where))}"
        found.append(f"{text}\n{details}" if details else text)
    return found
