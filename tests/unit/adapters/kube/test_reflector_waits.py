"""How long a mirror waits before it asks an API server again that has failed it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import NoReturn, cast

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import POD
from knative_mig.adapters.kube.reflector import BackOff, KubeMirror
from knative_mig.ports.kube import ApiUnreachable, ClusterError, TooManyRequests


class AlwaysTheLimit(Random):
    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the base class's
        return b


@dataclass
class Failing:
    """An API server, and the event by which the mirror is told to stop: set when there is no error left."""

    errors: list[ClusterError]
    waits: list[float] = field(default_factory=list)

    def page(self, *_: object) -> NoReturn:
        raise self.errors.pop(0)

    def is_set(self) -> bool:
        return not self.errors and bool(self.waits)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def waits(errors: Iterable[ClusterError]) -> list[float]:
    failing = Failing([*errors, ClusterError("the last one")])
    back_off = BackOff(random=AlwaysTheLimit())
    mirror = KubeMirror(cast("KubeClient", failing), POD, parse.pod, back_off=back_off)
    mirror.run(failing)  # type: ignore[arg-type]
    return failing.waits


def test_an_api_server_that_says_when_is_asked_then_whatever_went_before() -> None:
    busy = TooManyRequests("not now")
    busy.retry_after_s = 1.0
    errors = [*[ClusterError("it fails")] * 10, busy]
    assert waits(errors)[8:] == [15.0, 15.0, 1.0]


def test_one_that_is_away_is_looked_for_within_seconds_for_as_long_as_it_takes() -> None:
    assert max(waits([ApiUnreachable("no route")] * 100)) == 3.0


def test_one_that_is_back_and_not_quite_ready_is_not_punished_for_having_been_away() -> None:
    errors = [*[ApiUnreachable("no route")] * 20, ClusterError("starting"), ClusterError("starting")]
    assert waits(errors)[20:] == [0.2, 0.4]
