"""How hypothesis draws, and in which order tests run.

The same examples are drawn each time, so that a change is judged by what it changed; `--hypothesis-profile=explore`
draws new ones, and plays first what failed before. How long an example takes says nothing on a busy machine: neither a
slow one nor slow drawing fails a test.

What takes longest begins first, so that at the end no worker is alone with it; what looks for a moment in which the
machine does nothing else comes last.

Modules and tests are there to stay: they are not looked through for garbage while they are made, nor with each test's.

An assertion that fails shows its values, wherever it stands: pytest does that by itself for `test_*.py` only.
"""

import gc
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_FAILED_BEFORE = DirectoryBasedExampleDatabase(".hypothesis/examples")

settings.register_profile("the same", _ANY_MACHINE, derandomize=True, database=None)
settings.register_profile("explore", _ANY_MACHINE, derandomize=False, database=_FAILED_BEFORE, print_blob=True)
settings.load_profile("the same")

pytest.register_assert_rewrite("tests.cluster", "tests.contract", "tests.rigs", "tests.scenarios")

_BEGIN_FIRST: Final = (
    "property/test_planner_machine.py",
    "contract/test_crash_campaign.py",
    "contract/test_fuzz_campaign.py::test_requests",
    "property/test_mover_machine.py",
    "property/test_moves_whole.py",
    "property/test_cluster_rounds.py",
    "property/cli/test_near_valid_files.py",
    "property/test_planner_exact.py",
    "property/",
    "contract/test_move_crashes.py",
    "contract/test_agent_whole.py",
    "contract/test_source_whole.py",
    "unit/core/mover/test_recreate.py::test_whatever",
    "unit/bench/test_planner_command.py::test_the_last_line",
    "unit/bench/test_reconfigure.py",
    "unit/core/planner/test_bound.py",
)
_END_WITH: Final = "contract/test_planner_door.py::test_answers_are_quick"


def pytest_configure() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        if _END_WITH in item.nodeid:
            return len(_BEGIN_FIRST) + 1
        return next((at for at, part in enumerate(_BEGIN_FIRST) if part in item.nodeid), len(_BEGIN_FIRST))

    items.sort(key=turn)
