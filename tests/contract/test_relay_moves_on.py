"""A stream that has come to a relay over a link is moved on from there, and its client reads on where it always has."""

import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_relay_process import COMPLETIONS, LONG, agent_in, moving, unmoved
from tests.rigs.relay_processes import SECRET, Reader, RelayProcess, asked, relays, slowly, until
from tests.rigs.tiny_server import PATIENCE_S, asks, served


def test_each_replica_on_the_way_gives_its_slice_back_at_once_and_the_client_does_not_notice(tmp_path: Path) -> None:
    slice_dir = tmp_path / "slice"
    slice_dir.mkdir()
    with (
        relays(tmp_path, 2) as (source, last),
        relays(tmp_path, 1, "--slice-dir", str(slice_dir)) as (middle,),
        agent_in(slice_dir) as agent_heard,
    ):
        longer = asks(max_tokens=400, temperature=1.0)
        whole = unmoved(last, COMPLETIONS, longer)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, longer)
            reader.read_until(20)
            assert [each["moved"] for each in source.migrate(middle)[1]["generations"]] == [True]
            reader.read_until(80)
            (told,) = middle.migrate(last)[1]["generations"]
            assert (told["moved"], told["why"]) == (True, "")
            assert told["output_tokens"] >= 80
            until(lambda: len(agent_heard) == 2, "the slice's release, asked for until it is granted")
            assert not middle.engine_lives
            assert not reader.is_done
            middle.kill()  # nobody needs it
        assert reader.read_all().is_done
        assert reader.told == whole
        assert len(reader.identities) == 1


def test_where_the_next_one_is_away_it_stays_and_its_replica_serves_on(tmp_path: Path) -> None:
    with relays(tmp_path) as (source, middle):
        whole = unmoved(middle, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(20)
            source.migrate(middle)
            nowhere = {"to": "http://127.0.0.1:9"}
            assert asked(middle.move_port, "POST", "/migrate", nowhere, Authorization=f"Bearer {SECRET}")[0] == 502
            assert middle.ask("GET", "/health")[0] == 200
        assert reader.read_all().told == whole


@pytest.mark.parametrize("who", ["source", "middle", "middle's engine", "last", "last's engine"])
def test_whoever_dies_on_the_way_on_the_text_is_right_or_breaks_off(tmp_path: Path, who: str) -> None:
    with served(tmp_path) as other:
        url = f"http://127.0.0.1:{other.http.port}"
        with relays(tmp_path, 3, function_url=url) as (source, middle, last):
            whole = unmoved(last, COMPLETIONS, LONG)
            with slowly(tmp_path):
                reader = Reader(source.port, COMPLETIONS, LONG)
                reader.read_until(20)
                source.migrate(middle)
                last.signal_engine(signal.SIGSTOP)  # so that it stays on its way
                thread = threading.Thread(target=lambda: _migrated(middle, last))
                thread.start()
                reader.read_until(100)
                _killed(who, {"source": source, "middle": middle, "last": last})
                last_lives = not who.startswith("last")
                if last_lives:
                    last.signal_engine(signal.SIGCONT)
            reader.read_all()
            assert reader.told == whole[: len(reader.told)]
            assert reader.is_done == (who != "source")
            assert not reader.is_done or reader.told == whole
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            if last_lives:
                until(lambda: last.running() == 0, "an idle last one")


def _migrated(source: RelayProcess, target: RelayProcess) -> None:
    with suppress(ConnectionError):  # of a source that is killed meanwhile
        source.migrate(target)


def _killed(who: str, relays: dict[str, RelayProcess]) -> None:
    name, _, engine = who.partition("'s ")
    if engine:
        relays[name].signal_engine(signal.SIGKILL)
    else:
        relays[name].kill()


def test_who_was_on_the_way_there_goes_back(tmp_path: Path) -> None:
    with relays(tmp_path, 3) as (source, middle, last):
        whole: list[Any] = unmoved(last, COMPLETIONS, LONG)
        with slowly(tmp_path):
            reader = Reader(source.port, COMPLETIONS, LONG)
            reader.read_until(20)
            middle.signal_engine(signal.SIGSTOP)
            thread, answers = moving(source, middle)
            reader.read_until(40)
            assert middle.migrate(last)[1]["generations"][0]["moved"], "it is not there any more"
            thread.join(PATIENCE_S)
            assert answers[0][1]["generations"][0]["why"] == "the target: its replica is leaving"
        assert reader.read_all().told == whole
