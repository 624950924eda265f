"""Pods and Revisions as the mover finds them: what is kept from round to round is what would be found anew."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from random import Random

from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.cluster.waiting import is_waiting
from knative_mig.core.floor.values import Revision
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.seen import SeenPods, SeenRevisions, Service
from tests.rigs.small_cluster import pod

LLM = Service("team", "llm")


def serving(name: str = "a", of: str = "llm-1") -> PodFacts:
    return replace(pod(name, "3g.20gb", revision=of, on="n1"), service="llm", ready=True)


def revision(name: str, generation: int, service: str = "llm") -> Revision:
    return Revision(namespace="team", name=name, uid=f"uid-{name}", service=service, generation=generation)


def test_a_pod_that_changes_is_found_as_it_is_now_and_as_nothing_else() -> None:
    seen = SeenPods()
    waits = replace(serving(), node=None)
    seen.see({1: waits})
    assert {each: list(pods) for each, pods in seen.waiting.items()} == {Function("team", "llm-1"): [waits]}
    assert list(seen.holding(LLM)) == []
    seen.see({1: serving()})
    assert seen.waiting == {}
    assert list(seen.holding(LLM)) == [Function("team", "llm-1")]
    assert list(seen.of(Function("team", "llm-1"))) == [serving()]


def test_a_function_holds_and_may_be_moved_until_the_last_of_its_pods_is_gone() -> None:
    seen, one, two = SeenPods(), replace(serving("a"), movable=True), replace(serving("b"), movable=True)
    seen.see({1: one, 2: two})
    seen.see({2: two})
    assert list(seen.holding(LLM)) == list(seen.movable) == [Function("team", "llm-1")]
    seen.see({})
    assert (list(seen.holding(LLM)), list(seen.movable), list(seen.of(Function("team", "llm-1")))) == ([], [], [])


def test_the_newest_revision_is_the_next_one_when_the_newest_goes() -> None:
    seen, first, second = SeenRevisions(), revision("llm-1", 1), revision("llm-2", 2)
    seen.see({1: first, 2: second})
    assert seen.newest(LLM) is second
    seen.see({1: first})
    assert seen.newest(LLM) is first
    assert seen.get(second.function) is None
    seen.see({})
    assert seen.newest(LLM) is None


def test_a_revision_that_goes_to_another_service_is_the_newest_there_and_no_more_here() -> None:
    seen = SeenRevisions()
    seen.see({1: revision("llm-1", 1)})
    seen.see({1: revision("llm-1", 1, service="other")})
    assert seen.newest(LLM) is None
    assert seen.newest(Service("team", "other")) == revision("llm-1", 1, service="other")


def test_pods_that_are_kept_are_found_as_if_all_were_looked_at_anew() -> None:
    chance, seen, names = Random(1), SeenPods(), count()
    pods: dict[int, PodFacts] = {}
    for _ in range(400):
        pods = dict(pods)
        for _ in range(chance.randrange(3)):
            pods[next(names)] = _any_pod(chance, next(names))
        for key in chance.sample(sorted(pods), min(len(pods), chance.randrange(4))):
            if chance.random() < 0.5:
                del pods[key]
            else:
                pods[key] = replace(_any_pod(chance, key), name=pods[key].name)
        seen.see(pods)
        assert _found(seen) == _found_anew([*pods.values()])


_FUNCTIONS = [Function("team", f"llm-{number}") for number in range(3)]
_SERVICES = [LLM, Service("team", "x"), Service("team", "")]


def _any_pod(chance: Random, number: int) -> PodFacts:
    return replace(
        pod(f"p-{number}", "3g.20gb", revision=chance.choice(_FUNCTIONS).name),
        service=chance.choice(["llm", "x", None]),
        node=chance.choice([None, NodeName("n1")]),
        phase=chance.choice([Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED]),
        ends_at=chance.choice([None, None, 9.0]),
        wants=chance.choice([pod("any", "3g.20gb").wants, {}]),
        movable=chance.random() < 0.3,
    )


def _found(seen: SeenPods) -> tuple[object, ...]:
    return (
        [_names(seen.of(each)) for each in _FUNCTIONS],
        {each: _names(pods) for each, pods in seen.waiting.items()},
        {*seen.movable},
        [{*seen.holding(each)} for each in _SERVICES],
    )


def _found_anew(pods: Sequence[PodFacts]) -> tuple[object, ...]:
    waiting = [each for each in pods if each.service and is_waiting(each)]
    holding = [each for each in pods if each.service and each.wants and each.node]
    holding = [each for each in holding if each.ends_at is None and not each.over]
    return (
        [_names(each for each in pods if each.function == function) for function in _FUNCTIONS],
        {each.function: _names(other for other in waiting if other.function == each.function) for each in waiting},
        {each.function for each in pods if each.movable},
        [{each.function for each in holding if each.service == service.name} for service in _SERVICES],
    )


def _names(pods: Iterable[PodFacts]) -> list[str]:
    return sorted(each.name for each in pods)
