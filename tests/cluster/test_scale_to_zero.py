"""Scale to zero and back: what every function here does, and what a start costs before anything of ours is in it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster import cold_start
from tests.cluster.api import Api
from tests.cluster.conftest import DeployFunction
from tests.cluster.figures import Measured
from tests.cluster.function import Function
from tests.cluster.waits import eventually

_FUNCTIONS = 10


@pytest.mark.alone  # nothing else of the suite while starts are timed
@pytest.mark.slow(60)
def test_ten_functions_go_to_zero_and_each_comes_back_with_its_first_request(
    function: DeployFunction, api: Api, measured: Measured
) -> None:
    with ThreadPoolExecutor(max_workers=5) as pool:
        functions: list[Function] = list(pool.map(lambda number: function(f"cold-{number}"), range(_FUNCTIONS)))
        to_zero = list(pool.map(_seconds_to_zero, functions))
    measured("at zero after its last request (window 6 s, grace 6 s)", to_zero, "s")

    starts = [cold_start.measure(one, api) for one in functions]

    measured("cold start", [start.total for start in starts], "s")
    for phase, seconds in cold_start.by_phase(starts).items():
        measured(f"  request to {phase}", seconds, "s")


def _seconds_to_zero(function: Function) -> float:
    # Asked until a pod that stays has answered: one that is draining already answers too.
    answer, _ = eventually(
        f"{function.name} is warm", lambda: (function.ask(), function.pods()), lambda seen: bool(seen[1])
    )
    function.wait_zero()
    return time.monotonic() - answer.ended
