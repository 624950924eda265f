"""What `knative-mig dev` is told that nobody can do is refused in one line, before anything is started."""

from pathlib import Path

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.whole import process
from knative_mig.dev.whole.settings import CHAOS_S, DevSettings
from knative_mig.dev.whole.told import Told

from .conftest import Cli


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--speed", "nan", "nan is no number"),
        ("--speed", "inf", "inf is not in the range 0.01<=x<=1000"),
        ("--speed", "0", "0.0 is not in the range"),
        ("--speed", "", "'' is no number: legal is 0.01<=x<=1000"),
        ("--speed", "-1", "-1.0 is not in the range 0.01<=x<=1000"),
        ("--chaos", "x", "'x' is no number: legal is 0.1<=x<=1000000000.0"),
        ("--chaos", "0", "0.0 is not in the range 0.1<=x<="),
        ("--chaos", "-1", "-1.0 is not in the range 0.1<=x<="),
        ("--chaos", "-.5", "-0.5 is not in the range 0.1<=x<="),
        ("--port", "65536", "65536 is not in the range 0<=x<=65535"),
        ("--port", "nan", "'nan' is no whole number: legal is 0<=x<=65535"),
        ("--api-port", "80x", "'80x' is no whole number: legal is 0<=x<=65535"),
        ("--api-port", "1.5", "'1.5' is no whole number: legal is 0<=x<=65535"),
        ("--state", "", "'' names no folder"),
    ],
)
def test_a_value_that_is_none_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, option: str, value: str, why: str
) -> None:
    monkeypatch.setattr(process, "run", lambda *_: 0)
    for outcome in (cli("dev", option, value), cli("dev", f"{option}={value}")):
        assert outcome.code == 2
        assert outcome.err.startswith(f"knative-mig dev: Invalid value for '{option}': {why}")
        assert outcome.err.count("\n") == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[DevSettings]:
    """With what it was to run; nothing does."""
    found: list[DevSettings] = []

    def run(settings: DevSettings, _told: Told) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(process, "run", run)
    return found


@pytest.mark.parametrize(("words", "each_s"), [((), None), (("--chaos",), CHAOS_S), (("--chaos", "2.5"), 2.5)])
def test_chaos_is_as_frequent_as_is_said(
    cli: Cli, asked: list[DevSettings], words: tuple[str, ...], each_s: float | None
) -> None:
    assert cli("dev", *words, "--speed", "2").code == 0
    assert [(each.chaos_s, each.speed) for each in asked] == [(each_s, 2.0)]


@pytest.mark.parametrize(("words", "keeps"), [((), False), (("--keep-hung",), True)])
def test_a_part_that_hangs_is_kept_only_where_that_is_said(
    cli: Cli, *, asked: list[DevSettings], words: tuple[str, ...], keeps: bool
) -> None:
    assert cli("dev", *words).code == 0
    assert [each.keeps_hung for each in asked] == [keeps]


def test_one_port_for_two_is_said_to_be_one() -> None:
    with pytest.raises(BadInput, match="--port and --api-port are both 18200: legal are two ports, 0 takes any"):
        DevSettings(port=18200, api_port=18200)
    DevSettings(port=0, api_port=0)


@pytest.mark.parametrize("state", [True, False], ids=["kept", "not kept"])
def test_a_fleet_that_is_empty_is_not_the_default_one_and_leaves_nothing(tmp_path: Path, *, state: bool) -> None:
    settings = DevSettings(gpus="", port=0, api_port=0, state=tmp_path / "state" if state else None)
    with pytest.raises(BadInput, match=r"^--gpus '' is not written like 2xA100-40GB, a count and a model$"):
        process.Dev(settings, Told(), print)
    assert not [*tmp_path.iterdir()]
