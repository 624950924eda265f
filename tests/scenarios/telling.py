"""How it is told that a function waits: through Brokers, twice, late, to the wrong one, or not at all."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from knative_mig.core.events import PROVISIONED
from tests.scenarios.scenario import Needs, Scenario
from tests.scenarios.stage import Listener, Player, Stage, Wish

_ASKED, _ANSWERED = "com.example.asked", "com.example.answered"


# ---------------------------------------------------------------- 3


def an_event_wakes_a_function_whose_slice_is_made_and_its_reply_is_delivered(stage: Stage) -> None:
    answerer, listener = stage.deploy_all(
        Wish(name="answerer", profile="2g.10gb", timeout_s=300, environment={"REPLY_TYPE": _ANSWERED}, at_zero=True),
        Wish(name="listener", pods=1),
    )
    stage.subscribe(answerer, _ASKED)
    stage.subscribe(listener, _ANSWERED)
    with answerer.timed() as seen:
        assert stage.publish(_ASKED, "question-1") == 202
        # A delivery that fails is repeated, later each time.
        [event] = stage.wait("the reply arrives", lambda: _events(listener), seconds=200)
    stage.print(seen)
    assert event["type"] == _ANSWERED
    assert event["id"] == "reply-to-question-1"
    assert "slice" in seen.reached


def _events(player: Player) -> list[dict[str, str]]:
    """Each once: a Broker that did not hear in time that one was taken brings it again."""
    answer = player.ask("/report")
    assert answer.status == 200, answer
    found: list[dict[str, str]] = json.loads(answer.text)["events"] or []
    return list({event["id"]: event for event in found}.values())


# ---------------------------------------------------------------- 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """`during` holds while a request is made, `then` is done while it waits."""

    name: str
    during: Callable[[Stage], AbstractContextManager[object]] = lambda _: nullcontext()
    then: Callable[[Stage, Player], None] = lambda _stage, _player: None


def _repeated_and_out_of_order(stage: Stage, player: Player) -> None:
    for number in (3, 1, 2, 1, 3, 3):
        stage.tell(player, identity=f"{player.name}-{number}", count=number)


VARIATIONS: Final = (
    Variation(name="lost", during=lambda stage: stage.sources(0)),
    Variation(name="repeated", then=_repeated_and_out_of_order),
    Variation(name="nobody", during=lambda stage: stage.events_to(Listener.NOBODY)),
    Variation(name="standby", during=lambda stage: stage.events_to(Listener.STANDBY)),
    Variation(name="killed", then=lambda stage, _: stage.kill_source()),
    Variation(name="copies", during=lambda stage: stage.sources(2)),
)


def one_slice_is_made_however_it_is_told(stage: Stage) -> None:
    wishes = (Wish(name=each.name, profile="1g.5gb", timeout_s=300, at_zero=True) for each in VARIATIONS)
    players = stage.deploy_all(*wishes)
    calls = [
        _made_for(stage, player, during=variation.during, then=variation.then)
        for variation, player in zip(VARIATIONS, players, strict=True)
    ]
    assert len({*calls}) == 1, dict(zip((each.name for each in VARIATIONS), calls, strict=True))


def _made_for(
    stage: Stage,
    player: Player,
    *,
    during: Callable[[Stage], AbstractContextManager[object]],
    then: Callable[[Stage, Player], None] = lambda _stage, _player: None,
) -> int:
    """One slice, and no other was touched; how often the GPUs were called for that."""
    with during(stage):
        before, changes = stage.slices(), stage.changes()
        with player.timed() as seen:
            # It stays, so that the next one does not find its slice idle.
            waiting = player.asked("/?chunks=2&every=280s")
            then(stage, player)
            player.wait_replicas(1)
        [held] = player.held()
        assert waiting.waits
        assert {each.uuid for each in stage.slices()} == {held.uuid, *(each.uuid for each in before)}
        assert held.uuid not in {each.uuid for each in before}
        stage.print(seen)
        return stage.changes() - changes


def a_broker_in_between_is_another_way_and_when_it_is_away_the_resync_is_left(stage: Stage) -> None:
    """By the Broker others hear what became of it too, and what nobody takes is a dead letter."""
    by_broker, without, listener = stage.deploy_all(
        Wish(name="by-broker", profile="1g.5gb", at_zero=True),
        Wish(name="without", profile="1g.5gb", at_zero=True),
        Wish(name="listener", pods=1),
    )
    with stage.broker_between():
        with stage.outcomes_to(listener, PROVISIONED):
            _made_for(stage, by_broker, during=lambda _: nullcontext())
            [event] = stage.wait("the outcome is heard", lambda: _events(listener))
            assert event["type"] == PROVISIONED
            assert by_broker.replicas()[0] in event["data"]

            assert stage.tell_nonsense("nonsense-1") == 202
            stage.wait("nobody takes it", lambda: stage.is_dead_letter("nonsense-1"))

        _made_for(stage, without, during=lambda _: stage.broker_away())


SCENARIOS: Final = (
    Scenario(
        name="an-event-wakes-a-function-whose-slice-is-made-and-its-reply-is-delivered",
        play=an_event_wakes_a_function_whose_slice_is_made_and_its_reply_is_delivered,
        seconds=100,
        eventing=True,
    ),
    Scenario(
        name="one-slice-is-made-however-it-is-told",
        play=one_slice_is_made_however_it_is_told,
        needs=Needs.EVERYTHING,
        seconds=55,
    ),
    Scenario(
        name="a-broker-in-between-is-another-way-and-when-it-is-away-the-resync-is-left",
        play=a_broker_in_between_is_another_way_and_when_it_is_away_the_resync_is_left,
        needs=Needs.EVERYTHING,
        seconds=50,
        eventing=True,
    ),
)
