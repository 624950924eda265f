"""Who leads, and under which token."""

from knative_mig.core.cluster.leadership import (
    MOST_TOKEN,
    Exhausted,
    Renew,
    Sight,
    Take,
    Wait,
    decide,
    highest_token,
    leads_until,
    look,
)
from knative_mig.ports.kube import LeaseRecord
from tests.rigs.small_cluster import gpu_node


def lease(holder: str, *, renewed: float = 0.0, token: int = 4, transitions: int = 2) -> LeaseRecord:
    return LeaseRecord(
        holder=holder, duration_s=15, acquired=0, renewed=renewed, transitions=transitions, fencing_token=token
    )


def seen(record: LeaseRecord, at: float) -> Sight:
    sight = look(None, record, at)
    assert sight
    return sight


def test_nobody_has_it() -> None:
    assert decide(None, None, "me", None, 7, now=0) == Take(token=8, transitions=0)


def test_a_lease_is_another_ones_until_its_time_has_passed_since_we_first_saw_it() -> None:
    theirs = lease("them", renewed=9e9)  # by a clock that is years ahead
    sight = seen(theirs, at=100)
    assert decide(theirs, sight, "me", None, 0, now=114.9) == Wait(holder="them", until=115)
    assert decide(theirs, sight, "me", None, 0, now=115) == Take(token=5, transitions=3)


def test_each_renewal_is_seen_anew() -> None:
    sight = seen(lease("them", renewed=1), at=100)
    assert look(sight, lease("them", renewed=1), now=110) is sight
    renewed = look(sight, lease("them", renewed=2), now=110)
    assert renewed
    assert renewed.since == 110
    assert look(sight, None, now=110) is None


def test_ones_own_is_renewed_under_the_same_token() -> None:
    mine = lease("me", token=4)
    assert decide(mine, seen(mine, 0), "me", 4, 9, now=1) == Renew(token=4)


def test_one_that_was_left_by_a_process_of_ones_own_name_is_taken_under_a_new_token() -> None:
    old = lease("me", token=4)
    assert decide(old, seen(old, 0), "me", None, 0, now=1) == Take(token=5, transitions=3)


def test_one_that_was_given_back_is_taken_at_once() -> None:
    free = lease("")
    assert decide(free, seen(free, 0), "me", None, 0, now=0) == Take(token=5, transitions=3)


def test_the_token_is_above_every_gpu_nodes_whatever_the_lease_says() -> None:
    nodes = [gpu_node("n1", token=3), gpu_node("n2", token=12)]
    old = lease("", token=4)
    assert decide(old, seen(old, 0), "me", None, highest_token(nodes), now=0) == Take(token=13, transitions=3)
    assert decide(None, None, "me", None, highest_token(nodes), now=0) == Take(token=13, transitions=0)
    assert highest_token([]) == 0


def test_above_the_highest_token_nobody_leads_but_who_leads_already_goes_on() -> None:
    old = lease("", token=4)
    for above in (MOST_TOKEN, 2**63 - 1):
        assert decide(old, seen(old, 0), "me", None, above, now=0) == Exhausted(token=above)
        assert decide(None, None, "me", None, above, now=0) == Exhausted(token=above)
    assert decide(None, None, "me", None, MOST_TOKEN - 1, now=0) == Take(token=MOST_TOKEN, transitions=0)
    mine = lease("me", token=4)
    assert decide(mine, seen(mine, 0), "me", 4, MOST_TOKEN, now=0) == Renew(token=4)


def test_a_leader_counts_less_than_those_who_wait() -> None:
    assert leads_until(asked_at=100, duration_s=15, margin_s=5) == 110
