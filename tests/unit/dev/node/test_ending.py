"""How a container is ended, over virtual time."""

from dataclasses import replace

from knative_mig.dev.node.ending import LEAST_S, Do, Ending, next_step


def story(
    ending: Ending,
    *,
    requests: tuple[float, ...] = (),
    hook_s: float = 0.0,
    grace_at: dict[float, float] | None = None,
) -> list[tuple[float, Do]]:
    """What is done when, for one that does not end by itself."""
    now = ending.began_at
    done: list[tuple[float, Do]] = []
    while not ending.killed and now < 1000:
        ending = replace(ending, last_came=max((each for each in requests if each <= now), default=None))
        for when, grace in (grace_at or {}).items():
            if now >= when:
                ending = replace(ending, grace_s=grace)
        step = next_step(ending, now)
        match step.do:
            case Do.WAIT:
                now = min(step.until, now + 0.5)
                continue
            case Do.RUN_HOOK:
                done.append((now, step.do))
                now += hook_s
                ending = replace(ending, hook_began=True, hook_over=True)
                continue
            case Do.TERMINATE:
                ending = replace(ending, told_at=now)
            case Do.KILL:
                ending = replace(ending, killed=True)
        done.append((now, step.do))
    return done


def test_it_is_told_and_killed_when_its_grace_is_over() -> None:
    assert story(Ending(began_at=100, grace_s=30)) == [(100, Do.TERMINATE), (130, Do.KILL)]


def test_a_function_is_told_when_no_request_has_come_for_half_a_minute() -> None:
    begun = Ending(began_at=100, grace_s=300, quiet_s=30)
    assert story(begun) == [(130, Do.TERMINATE), (400, Do.KILL)]
    assert story(begun, requests=(90,)) == [(130, Do.TERMINATE), (400, Do.KILL)]
    assert story(begun, requests=(110, 135)) == [(165, Do.TERMINATE), (400, Do.KILL)]


def test_requests_that_do_not_cease_are_cut_off_when_the_grace_is_over_and_two_seconds_are_left_for_the_rest() -> None:
    begun = Ending(began_at=100, grace_s=60, quiet_s=30)
    assert story(begun, requests=tuple(range(100, 200))) == [(160, Do.TERMINATE), (160 + LEAST_S, Do.KILL)]


def test_the_hook_comes_before_and_takes_of_the_same_grace() -> None:
    begun = Ending(began_at=100, grace_s=30, has_hook=True)
    assert story(begun, hook_s=10) == [(100, Do.RUN_HOOK), (110, Do.TERMINATE), (130, Do.KILL)]
    assert story(begun, hook_s=29.5)[-1] == (129.5 + LEAST_S, Do.KILL)


def test_a_later_deletion_makes_the_grace_shorter() -> None:
    assert story(Ending(began_at=100, grace_s=300), grace_at={110: 15}) == [(100, Do.TERMINATE), (115, Do.KILL)]


def test_without_any_grace_it_is_killed_at_once() -> None:
    assert story(Ending(began_at=100, grace_s=0, has_hook=True)) == [(100, Do.KILL)]
    assert story(Ending(began_at=100, grace_s=300), grace_at={105: 0}) == [(100, Do.TERMINATE), (105, Do.KILL)]
