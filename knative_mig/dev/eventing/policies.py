"""How an event is delivered: how often it is tried again, how long after, and after which answers.

Read from a Trigger's `spec.delivery`, or where it has none from its Broker's; asked by `courses`. The subtle things are
Knative's own: a Trigger's delivery takes the place of its Broker's whole, not field by field; a linear back-off counts
from nothing, so that the first repetition comes at once; and without a policy or a delay there is no pause at all.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.dev.eventing import periods

# A 404 comes from a pod that is just starting, and a 409 means no more than that it is to be sent again.
_AGAIN: Final = frozenset({404, 408, 409, 429})


class BackOff(StrEnum):
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    retries: int = 0
    back_off: BackOff | None = None
    delay_s: float = 0.0
    timeout_s: float | None = None  # of one try

    def wait_s(self, tried: int) -> float:
        """Before it is tried again, after so many tries in vain."""
        match self.back_off:
            case BackOff.EXPONENTIAL:
                return self.delay_s * 2.0 ** min(tried - 1, 60)
            case BackOff.LINEAR:
                return self.delay_s * (tried - 1)
            case None:
                return 0.0


def is_tried_again(status: int) -> bool:
    return status >= 500 or status in _AGAIN


def policy_of(delivery: Fields) -> Policy:
    """BadInput: what the webhook would have refused."""
    retries = delivery.optional_integer("retry") or 0
    timeout_s = delivery.parsed("timeout", periods.seconds, "a period like PT10S") if delivery.has("timeout") else None
    if not (delivery.has("backoffPolicy") and delivery.has("backoffDelay")):
        return Policy(retries=retries, timeout_s=timeout_s)
    return Policy(
        retries=retries,
        back_off=delivery.parsed("backoffPolicy", BackOff, "linear or exponential"),
        delay_s=delivery.parsed("backoffDelay", periods.seconds, "a period like PT0.2S"),
        timeout_s=timeout_s,
    )
