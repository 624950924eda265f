"""The vocabulary of scenarios: what can be asked for, done and seen on a stage, whatever plays it.

A stage has GPUs to itself, numbered from 0, and functions that run on them and on no others. Layouts are written as in
`2g.10gb@0 1g.5gb@2`, one text a GPU. Every wait has a deadline and fails with what was seen last.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

PHASES: Final = (
    "request", "pending event", "plan", "slice", "freed", "schedulable", "started", "ready", "first byte", "drain",
)  # fmt: skip


# Of a function that is not to be at zero before its load begins, however slowly that comes.
LINGERS: Final = {"autoscaling.knative.dev/window": "20s"}


class Listener(Enum):
    """Whom events are sent to."""

    NOBODY = auto()
    STANDBY = auto()  # who does not lead


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A function as its user writes it; what is None or empty here is left out there."""

    name: str
    profile: str | None = None
    timeout_s: int | None = None
    pods: int = 0  # at least so many, always
    at_zero: bool = False  # from the beginning: it has no replica before it is asked
    annotations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSeen:
    gpu: int
    profile: str
    start: int
    state: str  # Idle, Busy, Released, Broken
    uuid: str  # another one each time that it is made
    holders: tuple[str, ...] = ()  # replicas

    @property
    def place(self) -> str:
        return f"{self.profile}@{self.start}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How long after its replica was told to go."""

    seconds: float  # until nothing of it ran any more
    idle: float  # until its slice was nobody's


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Seconds from the request to the end of each phase that was seen, and how it was told why.

    `plan` is the first there was, for whomever; `slice` is one that was made, `freed` one that somebody had and that
    was nobody's any more. `drain` is of a replica of its own that was told to go.
    """

    what: str
    reached: dict[str, float] = field(default_factory=dict)
    events: dict[str, float] = field(default_factory=dict)  # that told of it, by id, and when each was taken
    places: set[tuple[str, str]] = field(default_factory=set)  # (the GPU's UUID, where on it), of slices that it had

    def __str__(self) -> str:
        seen = (f"{phase} {self.reached[phase]:.3f}" for phase in PHASES if phase in self.reached)
        return f"{self.what}: {', '.join(seen)} s"


class Load(Protocol):
    """Requests one after the other, by several clients, until its context ends."""

    @property
    def answered(self) -> int: ...
    @property
    def failed(self) -> Sequence[str]: ...
    @property
    def longest(self) -> float:
        """Seconds that an answer took."""

    def go_on(self, answers: int) -> None:
        """Waits until so many more were answered."""

    def end(self) -> None:
        """Waits for what is under way, and asks no more."""


class Player(Protocol):
    """A function."""

    @property
    def name(self) -> str: ...
    def create(self, *, wait: bool = True) -> None:
        """As its user does it; waits until it is Ready."""

    def wait_ready(self, *, seconds: float = ...) -> None: ...
    def ask(self, path: str = "/", *, seconds: float = ...) -> Answer: ...
    def asked(self, path: str = "/") -> "Asked":
        """Asks beside what goes on."""

    def load(self, *, clients: int = 2, path: str = "/") -> AbstractContextManager[Load]: ...
    def replicas(self) -> list[str]:
        """Those that are not ending, oldest first."""

    def wait_replicas(self, number: int, *, seconds: float = ...) -> list[str]: ...
    def wait_gone(self, replica: str, *, seconds: float = ...) -> None: ...
    def always_ready(self) -> AbstractContextManager[None]:
        """At each moment some replica is Ready that was not told to go; it fails at the end where there was none."""

    def wait_zero(self, *, seconds: float = ...) -> None:
        """Nothing but what drains, and the next request is a cold start."""

    def rest(self, *, seconds: float = ...) -> Drained:
        """`wait_zero`, and its slices are nobody's."""

    def put_to_rest(self) -> None:
        """The same at once, for stories that are not about draining: what drains is ended."""

    def held(self) -> list[SliceSeen]:
        """The slices that its replicas hold."""

    def why(self) -> str:
        """All that its user is told about what it waits for and what it was given, in one text."""

    def wait_why(self, word: str, *, seconds: float = ...) -> str:
        """Until the reason is among it."""

    def says(self) -> str:
        """Why, in the words of its replicas that wait, which say so for as long as they do; empty: none waits so."""

    def update(self, *, environment: Mapping[str, str]) -> None:
        """Its user writes it anew, and does not wait."""

    def delete(self) -> None:
        """At once, as `put_to_rest`."""

    def timed(self) -> AbstractContextManager[Timeline]:
        """Takes down the phases of the cold start that goes on meanwhile."""


class Asked(Protocol):
    """A request that is under way."""

    @property
    def waits(self) -> bool: ...
    def answer(self, *, seconds: float = ...) -> Answer: ...


class Stage(Protocol):
    @property
    def gpus(self) -> int: ...
    def lay_out(self, *layouts: str) -> None:
        """As an administrator would; GPUs that are not named are empty."""

    def layout(self) -> list[str]: ...
    def slices(self) -> list[SliceSeen]: ...
    def model(self, gpu: int) -> str: ...
    def uuid(self, gpu: int) -> str:
        """By which its users are told of it."""

    def changes(self) -> int:
        """How many slices were made or destroyed so far."""

    def break_slice(self, place: SliceSeen, xid: int) -> None: ...
    def wait_sound(self) -> None:
        """No GPU and no slice is broken, and each is as it is wanted."""

    def cast(self, wish: Wish) -> Player:
        """A function that is not there yet."""

    def deploy(self, wish: Wish) -> Player:
        """One that is there and Ready."""

    def deploy_all(self, *wishes: Wish, wait: bool = True) -> Sequence[Player]:
        """At once."""

    def put_to_rest(self, *players: Player) -> None:
        """Each of them."""

    def delete(self, *players: Player) -> None:
        """Each of them."""

    def timed(self, *players: Player) -> AbstractContextManager[list[Timeline]]:
        """As each of them has it, of all at once."""

    def limit(self, profile: str, most: int) -> None:
        """The quota of whoever owns the functions."""

    # What tells of functions that wait, and who listens.
    def resync(self, seconds: float) -> None:
        """So often from now on; the story's end puts it back."""

    def sources(self, count: int) -> AbstractContextManager[None]:
        """So many copies of what tells."""

    def kill_source(self) -> None: ...
    def events_to(self, whom: Listener) -> AbstractContextManager[None]: ...
    def broker_between(self) -> AbstractContextManager[None]:
        """What tells sends to a Broker, which sends on."""

    def broker_away(self) -> AbstractContextManager[None]: ...
    def tell(self, player: Player, *, identity: str, count: int) -> None:
        """As anybody may: that the function wants so many slices."""

    # While a Broker is between.
    def outcomes_to(self, player: Player, kind: str) -> AbstractContextManager[None]:
        """Events of what became of functions that waited, one kind of them."""

    def tell_nonsense(self, identity: str) -> int:
        """That something waits, and not what; the Broker's answer, a status."""

    def is_dead_letter(self, identity: str) -> bool:
        """Whether that event was given up, as nobody took it."""

    # Events of others.
    def subscribe(self, player: Player, kind: str) -> None: ...
    def publish(self, kind: str, identity: str) -> int:
        """The Broker's answer, a status."""

    def wait(self, what: str, look: Callable[[], T], *, seconds: float = ...) -> T:
        """Until it is something."""

    def print(self, timeline: Timeline) -> None: ...
