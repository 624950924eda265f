"""What the autoscaler is told over time, by a gateway with its thread: held requests and served ones alike."""

import threading

from knative_mig.dev.gateway.load import FIRST
from tests.rigs.gateway import PATIENCE_S, gateway_rig, until


def test_a_held_request_is_told_at_once_then_each_second_and_then_no_more() -> None:
    stop = threading.Event()
    with gateway_rig() as rig:
        telling = threading.Thread(target=rig.gateway.tell, args=(stop,))
        telling.start()
        revision = rig.function()
        clients = [rig.asks() for _ in range(3)]
        until(lambda: rig.held(revision) == 3)
        assert rig.told[0].stat == FIRST
        until(lambda: round(rig.told[-1].stat.concurrency, 6) == 3)
        assert sum(told.stat.requests for told in rig.told) == 3
        pod = rig.pod(revision)
        assert [client.answer()[1] for client in clients] == [b"ok"] * 3
        until(lambda: rig.told[-1].stat.concurrency == 0)
        until(lambda: rig.gateway.scraped(revision)[pod.at.key].requests == 0)
        assert {told.revision for told in rig.told} == {revision}
        stop.set()
        telling.join(PATIENCE_S)
    assert not telling.is_alive()
