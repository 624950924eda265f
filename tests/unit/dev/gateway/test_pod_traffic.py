"""What each pod has had, for who ends it."""

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.pod_traffic import PodLedger
from knative_mig.ports.kube import Key

POD = Key("team", "pod")


def test_a_pod_that_never_had_a_request_says_so() -> None:
    ledger = PodLedger()
    assert ledger.last_came(POD) is None
    ledger.appeared(POD, 100.0)
    assert ledger.last_came(POD) is None


def test_a_pod_is_silent_from_the_beginning_of_its_last_request() -> None:
    ledger = PodLedger()
    ledger.came(POD, 100.0, proxied=True)
    ledger.came(POD, 101.0, proxied=True)
    assert ledger.last_came(POD) == 101.0
    ledger.went(POD, 102.0, proxied=True)
    ledger.went(POD, 109.0, proxied=True)
    assert ledger.last_came(POD) == 101.0


def test_a_pod_whose_object_is_gone_is_remembered_as_long_as_it_has_a_request() -> None:
    ledger = PodLedger()
    ledger.appeared(POD, 99.0)
    ledger.came(POD, 100.0, proxied=True)
    ledger.went_away(POD)
    assert ledger.last_came(POD) == 100.0
    ledger.went(POD, 101.0, proxied=True)
    assert ledger.last_came(POD) is None


def test_its_answer_to_the_autoscaler_is_that_of_the_last_second() -> None:
    ledger = PodLedger()
    ledger.appeared(POD, 100.0)
    ledger.came(POD, 100.0, proxied=True)
    assert ledger.stat(POD) == Stat()
    ledger.take_stats(101.0)
    assert ledger.stat(POD) == Stat(concurrency=1, proxied_concurrency=1, requests=1, proxied_requests=1)
