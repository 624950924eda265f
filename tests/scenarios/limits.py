"""What is not had for other reasons than room, and what is not had twice."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import LINGERS, Stage, Wish

# ---------------------------------------------------------------- 7


def a_quota_is_told_of_and_lifting_it_is_enough(stage: Stage) -> None:
    stage.limit("1g.5gb", 1)
    has = stage.deploy(Wish(name="has", profile="1g.5gb", pods=1))
    wants = stage.cast(Wish(name="wants", profile="1g.5gb"))
    with wants.timed() as seen:
        wants.create(wait=False)
        told = wants.wait_why("QuotaExceeded")
        assert "its pods are not made" in told
        assert "exceeded quota" in told
        assert has.ask().status == 200
        assert [each.place for each in stage.slices()] == [has.held()[0].place]
        stage.limit("1g.5gb", 2)
        wants.wait_ready(seconds=150)  # who was refused its pods asks again less and less often
        assert wants.ask().status == 200
    stage.print(seen)


_SHORT_S: Final = 10  # the timeout of functions whose requests are not held


def a_new_revision_waits_while_the_old_one_serves_and_takes_its_slice(stage: Stage) -> None:
    stage.deploy(Wish(name="fills", profile="7g.40gb", pods=1))
    # The last to be made: it is on its way to zero until there is load, and none of that is to be held.
    wish = Wish(name="llm", profile="7g.40gb", timeout_s=_SHORT_S, annotations=LINGERS, environment={"ANSWER": "old"})
    llm = stage.deploy(wish)
    with llm.load() as load:
        load.go_on(20)
        with llm.timed() as seen:
            llm.update(environment={"ANSWER": "new"})
            llm.wait_why("NoSpareSlice")
            stage.wait("its new replica says so itself", lambda: "NoSpareSlice" in llm.says())
            load.go_on(20)
            assert llm.ask().text == "old\n"
            load.end()
            llm.wait_ready(seconds=150)
    stage.print(seen)
    assert not load.failed
    assert llm.ask().text == "new\n"
    stage.wait("it says no more that it waits", lambda: not llm.says())


_RECREATES: Final = {"knative-mig.dev/rollout": "recreate"}


def a_rollout_that_recreates_answers_what_came_before_it_and_all_that_came_meanwhile(stage: Stage) -> None:
    # It is never at zero by itself: by default it would not be rolled out at all.
    wish = Wish(
        name="llm", profile="7g.40gb", pods=1, timeout_s=300, annotations=_RECREATES, environment={"ANSWER": "old"}
    )
    llm, _ = stage.deploy_all(wish, Wish(name="fills", profile="7g.40gb", pods=1))
    [old] = llm.replicas()
    [before] = llm.held()
    with llm.load() as load:
        running = llm.asked("/?sleep=8s")
        load.go_on(20)
        with llm.timed() as seen:
            llm.update(environment={"ANSWER": "new"})
            llm.wait_why("RecreateBegun")
            llm.wait_gone(old, seconds=150)
            [new] = llm.wait_replicas(1)
        load.go_on(20)
    stage.print(seen)
    assert running.answer().text == "old\n"
    assert not load.failed
    print(f"{llm.name}: a request was held for {load.longest:.1f} s at most")
    assert new != old
    [after] = llm.held()
    assert (after.gpu, after.place) == (before.gpu, before.place)
    assert llm.ask().text == "new\n"


SCENARIOS: Final = (
    Scenario(
        name="a-rollout-that-recreates-answers-what-came-before-it-and-all-that-came-meanwhile",
        play=a_rollout_that_recreates_answers_what_came_before_it_and_all_that_came_meanwhile,
        seconds=60,
    ),
    Scenario(
        name="a-new-revision-waits-while-the-old-one-serves-and-takes-its-slice",
        play=a_new_revision_waits_while_the_old_one_serves_and_takes_its_slice,
        seconds=55,
    ),
    Scenario(
        name="a-quota-is-told-of-and-lifting-it-is-enough",
        play=a_quota_is_told_of_and_lifting_it_is_enough,
        seconds=15,
    ),
)
