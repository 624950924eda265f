from types import SimpleNamespace
from typing import cast

import pytest

from tests.cluster import conftest, figures
from tests.cluster.e2e import pytest_command
from tests.cluster.testbed.errors import BadInputError


def test_kind_leaves_out_what_only_the_test_bed_can_do() -> None:
    assert "not testbed_only" in pytest_command(on_kind=True, arguments=[])
    assert "not testbed_only" not in pytest_command(on_kind=False, arguments=[])


def test_words_of_the_caller_reach_pytest() -> None:
    assert pytest_command(on_kind=False, arguments=["-k", "recorder"])[-2:] == ["-k", "recorder"]


@pytest.mark.parametrize("word", ["tests/cluster/test_recorder.py::test_x", "tests/cluster/test_recorder.py"])
def test_a_test_that_the_caller_names_runs_instead_of_the_suite(word: str) -> None:
    assert "tests/cluster" not in pytest_command(on_kind=False, arguments=[word])


@pytest.mark.parametrize("word", ["recorder", "docs", "config"])
def test_a_word_to_choose_by_leaves_the_suite_in_whatever_lies_in_the_folder(word: str) -> None:
    assert "tests/cluster" in pytest_command(on_kind=False, arguments=["-k", word])


def test_a_file_that_is_not_there_is_told_before_anything_boots() -> None:
    with pytest.raises(BadInputError, match=r"tests/cluster/test_nothing\.py is not there"):
        pytest_command(on_kind=False, arguments=["tests/cluster/test_nothing.py"])


def test_a_figure_of_several_tries_is_told_by_its_median_and_range() -> None:
    assert figures.told([0.25, 0.5, 4], "s") == "0.5 s (0.25-4, 3 times)"
    assert figures.told([2.0], "s") == "2 s"
    assert figures.told(1.23456, "s") == "1.23 s"


@pytest.mark.parametrize(
    ("outcomes", "exit_code"),
    [
        pytest.param({"passed": 2}, pytest.ExitCode.OK, id="all passed"),
        pytest.param({"passed": 1, "skipped": 1}, pytest.ExitCode.TESTS_FAILED, id="one skipped"),
    ],
)
def test_a_suite_that_skipped_has_not_passed(outcomes: dict[str, int], exit_code: int) -> None:
    reporter = SimpleNamespace(stats={outcome: [object()] * many for outcome, many in outcomes.items()})
    plugins = SimpleNamespace(get_plugin={"terminalreporter": reporter}.get)
    session = SimpleNamespace(config=SimpleNamespace(pluginmanager=plugins), exitstatus=pytest.ExitCode.OK)
    conftest.pytest_sessionfinish(cast("pytest.Session", session))
    assert session.exitstatus == exit_code
