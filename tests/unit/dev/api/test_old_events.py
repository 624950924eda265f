"""How long Events are kept."""

import pytest

from knative_mig.dev.api.old_events import LAST_S
from knative_mig.dev.api.store import Store
from tests.rigs.api_server import Json, Rig

_EVENTS = "/api/v1/namespaces/default/events"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _tell(rig: Rig, name: str) -> Json:
    about = {"kind": "Pod", "namespace": "default", "name": "p"}
    return rig.create(_EVENTS, name, involvedObject=about, reason="Started", message="it has", type="Normal")


def test_they_go_an_hour_after_they_were_last_told(rig: Rig) -> None:
    _tell(rig, "once")
    _tell(rig, "again")
    rig.passes(LAST_S / 2)
    rig.merge(f"{_EVENTS}/again", {"count": 2})
    _tell(rig, "late")
    rig.passes(LAST_S / 2)
    rig.server.old_events.settle()
    assert rig.names(_EVENTS) == ["again", "late"]
    rig.delete(f"{_EVENTS}/late")
    rig.passes(LAST_S / 2)
    rig.server.old_events.settle()
    assert rig.names(_EVENTS) == []


def test_those_of_a_run_before_go_too(rig: Rig) -> None:
    _tell(rig, "old")
    store = Store()
    store.restore(*rig.server.store.snapshot())
    following = Rig(store=store)
    following.passes(LAST_S)
    following.server.old_events.settle()
    assert following.names(_EVENTS) == []
