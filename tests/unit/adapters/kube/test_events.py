"""The queue before the API server: nobody waits, nothing grows without end."""

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.events import MOST_WAITING, KubeEvents
from knative_mig.ports.kube import EventRecorder, EventType, Subject

SUBJECT = Subject(api_version="v1", kind="Pod", namespace="ns", name="p")


def test_what_is_too_much_is_counted_as_lost_and_what_repeats_takes_no_room() -> None:
    nowhere = KubeClient.of_url("http://127.0.0.1:9")
    events = KubeEvents(nowhere, component="c")
    as_port: EventRecorder = events
    for number in range(MOST_WAITING + 5):
        as_port.record(SUBJECT, EventType.NORMAL, "Made", str(number))
    as_port.record(SUBJECT, EventType.NORMAL, "Made", "0")
    assert events.lost == 5
