"""Where events are sent.

Called by the pending source; answered by `adapters.event_sender`. A sink says what became of an event and raises
nothing, for whatever went wrong, the answer to it is the same: send it again, or leave it.
"""

from typing import Protocol

from knative_mig.core.events import Delivery, Event


class EventSink(Protocol):
    def send(self, event: Event) -> Delivery:
        """Waits for the answer, within a bound; any thread may call."""
