"""What is set on a function where its user set nothing: decided once, recorded, carried from then on."""

from dataclasses import replace

import pytest

from knative_mig.core.admission.annotations import CHOSEN
from knative_mig.core.admission.choice import BURST, DEADLINE, FIRST_BYTE, SERVICE_LINKS, TIMEOUT, Why, decide
from knative_mig.core.admission.function import Function, Part, Place
from knative_mig.core.admission.limits import start_limits
from tests.rigs.functions import RECORD, admitted, function, texts, with_settings, without_chosen

CAP_S = 3600
MOVABLE = "knative-mig.dev/movable"
ROLLOUT = "knative-mig.dev/rollout"


def stored(written: Function, old: Function | None = None, cap_s: int = CAP_S) -> Function:
    return admitted(written, decide(written, old, cap_s))


# -- a function is made ------------------------------------------------------------------------------------------------


def test_a_new_function_gets_what_a_cold_start_on_a_slice_needs_and_a_record_of_it() -> None:
    choice = decide(function("3g.20gb"), None, CAP_S)
    limits = start_limits(memory_gb=20, waits_for_a_slice=True)
    assert choice.why is Why.DECIDED
    assert texts(choice.edits) == {
        "autoscaling.knative.dev/target-burst-capacity": "-1",
        "serving.knative.dev/progress-deadline": f"{limits.progress_deadline_s}s",
        "timeoutSeconds": limits.timeout_s,
        "responseStartTimeoutSeconds": limits.timeout_s,
    }
    assert '"inputs":"v1:' in str(choice.edits[RECORD])


def test_the_same_function_is_given_the_same_each_time() -> None:
    first, second = (decide(function("3g.20gb"), None, CAP_S) for _ in range(2))
    assert first == second


def test_a_function_that_is_nothing_to_us_is_left_alone() -> None:
    choice = decide(function({"cpu": "1"}, template={"example.com/mine": "1"}), None, CAP_S)
    assert choice.why is Why.NOT_OURS
    assert choice.edits == {}


@pytest.mark.parametrize(
    ("place", "value"),
    [(BURST, "200"), (DEADLINE, "90s"), (TIMEOUT, 40), (FIRST_BYTE, 20)],
    ids=["burst", "deadline", "timeout", "first-byte"],
)
def test_what_the_user_set_stays(place: Place, value: str | int) -> None:
    written = with_settings(function("3g.20gb"), {place: value})
    choice = decide(written, None, CAP_S)
    assert place not in choice.edits
    assert stored(written).settings[place] == value
    assert len(choice.edits) == 4  # the three others and the record


def test_the_first_byte_may_take_as_long_as_the_users_own_timeout() -> None:
    assert stored(function("3g.20gb", timeoutSeconds=40)).settings[FIRST_BYTE] == 40


def test_a_timeout_that_is_chosen_is_no_shorter_than_the_users_other_ones() -> None:
    assert stored(function("1g.5gb", responseStartTimeoutSeconds=2000)).settings[TIMEOUT] == 2000
    assert stored(function("1g.5gb", idle_s=1500)).settings[TIMEOUT] == 1500


def test_a_timeout_keeps_to_knatives_cap_and_says_so() -> None:
    choice = decide(function("7g.80gb"), None, 600)
    assert choice.edits[TIMEOUT] == 600
    assert choice.edits[FIRST_BYTE] == 600
    assert "max-revision-timeout-seconds" in choice.warning
    assert decide(function("7g.80gb"), None, CAP_S).warning == ""


def test_a_bigger_slice_is_given_more_time() -> None:
    assert int(stored(function("7g.40gb")).settings[TIMEOUT]) > int(stored(function("1g.5gb")).settings[TIMEOUT])


def test_a_function_without_a_size_is_given_the_time_of_the_biggest_that_it_allows() -> None:
    some = stored(function(template={"knative-mig.dev/profiles": "1g.5gb,3g.20gb"}))
    every = stored(function(template={"knative-mig.dev/model": "tiny"}))
    assert some.settings[TIMEOUT] == stored(function("3g.20gb")).settings[TIMEOUT]
    assert int(every.settings[TIMEOUT]) > int(some.settings[TIMEOUT])


def test_a_function_that_may_be_recreated_waits_for_the_old_ones_requests_and_not_until_it_is_at_zero() -> None:
    def deadline(rollout: str, timeout_s: int | None = None) -> int:
        wanted = function("3g.20gb", template={ROLLOUT: rollout})
        if timeout_s is not None:
            wanted = with_settings(wanted, {**wanted.settings, TIMEOUT: timeout_s})
        return int(str(stored(wanted).settings[DEADLINE])[:-1])

    limits = start_limits(memory_gb=20, waits_for_a_slice=False)
    assert deadline("recreate") == limits.progress_deadline_s > limits.timeout_s + 270
    assert deadline("recreate") < deadline("wait")
    assert stored(function("3g.20gb")).settings[DEADLINE] == f"{deadline('wait')}s"
    assert deadline("recreate", limits.timeout_s + 1000) == deadline("recreate") + 1000
    assert deadline("recreate", 10) == deadline("recreate")


# -- annotations on the Service ----------------------------------------------------------------------------------------


def test_what_stands_on_the_service_alone_is_copied_to_the_template_where_pods_get_it_from() -> None:
    written = function("3g.20gb", annotations={MOVABLE: "true", "example.com/mine": "1"})
    assert stored(written).settings[Place(Part.ANNOTATIONS, MOVABLE)] == "true"
    assert Place(Part.ANNOTATIONS, "example.com/mine") not in stored(written).settings


def test_the_template_has_the_last_word() -> None:
    written = function("3g.20gb", annotations={ROLLOUT: "wait"}, template={ROLLOUT: "recreate"})
    by_template = stored(function("3g.20gb", template={ROLLOUT: "recreate"}))
    assert stored(written).settings == by_template.settings


def test_what_kn_writes_on_both_is_what_either_alone_means() -> None:
    both = stored(function("3g.20gb", annotations={MOVABLE: "true"}, template={MOVABLE: "true"}))
    service = stored(function("3g.20gb", annotations={MOVABLE: "true"}))
    assert {**both.settings, RECORD: ""} == {**service.settings, RECORD: ""}


def test_what_was_copied_goes_when_it_goes_from_the_service() -> None:
    made = stored(function("3g.20gb", annotations={MOVABLE: "true"}))
    edited = replace(made, annotations={})
    assert Place(Part.ANNOTATIONS, MOVABLE) not in stored(edited, made).settings


def test_what_was_copied_follows_the_service() -> None:
    made = stored(function("3g.20gb", annotations={ROLLOUT: "wait"}))
    edited = stored(replace(made, annotations={ROLLOUT: "recreate"}), made)
    assert edited.settings[Place(Part.ANNOTATIONS, ROLLOUT)] == "recreate"


# -- a function is changed ---------------------------------------------------------------------------------------------


def test_a_replace_that_drops_what_was_added_gets_it_back_to_the_letter() -> None:
    written = function("3g.20gb", template={"example.com/mine": "1"})
    made = stored(written, cap_s=600)
    # Knative's cap has been raised since, and a new version may know other times: nothing of that shows.
    again = decide(without_chosen(made, written), made, CAP_S)
    assert again.why is Why.CARRIED
    assert admitted(without_chosen(made, written), again).settings == made.settings


def test_an_update_of_something_else_changes_nothing_of_what_was_chosen() -> None:
    made = stored(function("3g.20gb"), cap_s=600)
    edited = with_settings(made, {**made.settings, Place(Part.ANNOTATIONS, "example.com/mine"): "2"})
    assert decide(edited, made, CAP_S).edits == {}


@pytest.mark.parametrize("amount", ["1000m", "1.0", "1e0", "01"])
def test_one_slice_is_the_same_however_it_is_written(amount: str) -> None:
    """Knative's webhook, which comes after ours, stores each of these as 1."""
    asked = function({"nvidia.com/mig-3g.20gb": amount})
    was = stored(asked)
    there = replace(was, containers=function("3g.20gb").containers)
    assert decide(there, there, CAP_S).edits == {}
    assert stored(asked, there).settings == was.settings


def test_another_size_is_decided_anew() -> None:
    made = stored(function("1g.5gb"))
    bigger = replace(made, containers=function("7g.40gb").containers)
    assert decide(bigger, made, CAP_S).why is Why.DECIDED
    assert {**stored(bigger, made).settings} == stored(function("7g.40gb")).settings


def test_a_value_of_the_users_own_replaces_the_chosen_one_and_is_kept_from_then_on() -> None:
    made = stored(function("3g.20gb"))
    edited = stored(with_settings(made, {**made.settings, TIMEOUT: 77}), made)
    assert edited.settings[TIMEOUT] == 77
    assert edited.settings[FIRST_BYTE] == 77
    bigger = stored(replace(edited, containers=function("7g.40gb").containers), edited)
    assert bigger.settings[TIMEOUT] == 77


def test_an_older_file_brings_back_what_was_chosen_for_it() -> None:
    """`kubectl get -o yaml` of yesterday, applied over today's."""
    large = stored(function("7g.80gb"), cap_s=600)
    small = stored(replace(large, containers=function("1g.5gb").containers), large)
    assert stored(large, small).settings == large.settings


def test_a_copy_under_another_name_is_as_its_original() -> None:
    made = stored(function("7g.80gb"), cap_s=600)
    assert decide(made, None, CAP_S).why is Why.CARRIED
    assert decide(made, None, CAP_S).edits == {}


def test_a_function_that_was_there_before_us_is_given_nothing_until_its_user_changes_what_counts() -> None:
    """Anything else would make a Revision of it when somebody sets a label."""
    old = function("3g.20gb")
    labelled = with_settings(old, {Place(Part.ANNOTATIONS, "example.com/mine"): "1"})
    assert decide(labelled, old, CAP_S).why is Why.LEFT
    assert decide(labelled, old, CAP_S).edits == {}
    assert decide(function("4g.20gb"), old, CAP_S).why is Why.DECIDED


def test_a_function_that_gives_up_its_slice_loses_what_came_with_it() -> None:
    written = function("3g.20gb", template={"example.com/mine": "1"}, timeoutSeconds=40)
    made = stored(written)
    plain = replace(made, containers=function({"cpu": "1"}).containers)
    choice = decide(plain, made, CAP_S)
    assert choice.why is Why.WITHDRAWN
    assert admitted(plain, choice).settings == written.settings


def test_a_function_that_is_being_deleted_is_not_touched() -> None:
    made = stored(function("3g.20gb"))
    assert decide(replace(function("1g.5gb"), deleting=True), made, CAP_S).edits == {}


def test_a_carried_timeout_that_became_too_short_for_the_users_idle_timeout_is_decided_anew() -> None:
    made = stored(function("1g.5gb"))
    assert stored(replace(made, idle_s=2000), made).settings[TIMEOUT] == 2000


# -- Knative's own default that only a CREATE is given ----------------------------------------------------------------


@pytest.mark.parametrize("default", [False, True])
def test_a_replace_gets_back_the_default_that_knative_set_when_the_function_was_made(*, default: bool) -> None:
    written = function("3g.20gb")
    made = replace(stored(written), service_links=default)
    again = decide(without_chosen(written, written), made, CAP_S, service_links=default)
    assert again.why is Why.CARRIED
    assert again.edits[SERVICE_LINKS] is default


def test_so_does_a_function_that_was_there_before_us() -> None:
    old = function("3g.20gb")
    choice = decide(old, replace(old, service_links=False), CAP_S, service_links=False)
    assert (choice.why, choice.edits) == (Why.LEFT, {SERVICE_LINKS: False})


@pytest.mark.parametrize(
    ("stored_one", "sent_one", "default"),
    [
        pytest.param(True, None, False, id="its-user-takes-back-what-is-not-the-default"),
        pytest.param(False, None, True, id="the-default-is-another-now"),
        pytest.param(False, None, None, id="there-is-no-default"),
        pytest.param(False, True, False, id="its-user-says-so"),
        pytest.param(False, False, False, id="it-was-sent"),
        pytest.param(None, None, False, id="there-was-none"),
    ],
)
def test_nothing_else_about_service_links_is_touched(
    *, stored_one: bool | None, sent_one: bool | None, default: bool | None
) -> None:
    written = function("3g.20gb")
    made = replace(stored(written), service_links=stored_one)
    sent = replace(written, service_links=sent_one)
    assert SERVICE_LINKS not in decide(sent, made, CAP_S, service_links=default).edits


def test_neither_is_a_function_of_somebody_elses_or_one_that_is_decided_anew() -> None:
    plain = function({"cpu": "1"})
    assert decide(plain, replace(plain, service_links=False), CAP_S, service_links=False).edits == {}
    made = replace(stored(function("3g.20gb")), service_links=False)
    assert SERVICE_LINKS not in decide(function("1g.5gb"), made, CAP_S, service_links=False).edits


# -- the record --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"inputs":7,"annotations":{},"spec":{}}',
        '{"inputs":"v1:0","annotations":{"example.com/any":"x"},"spec":{}}',
        '{"inputs":"v1:0","annotations":{"knative-mig.dev/movable":1},"spec":{}}',
        '{"inputs":"v1:0","annotations":{},"spec":{"timeoutSeconds":-1}}',
        '{"inputs":"v1:0","annotations":{},"spec":{"timeoutSeconds":true}}',
        '{"inputs":"v1:0","annotations":{},"spec":{"idleTimeoutSeconds":1}}',
        "[" * 5000,
    ],
)
def test_a_record_that_nobody_of_ours_wrote_is_written_anew(record: str) -> None:
    written = function("3g.20gb", template={CHOSEN: record})
    assert stored(written).settings == stored(function("3g.20gb")).settings


def test_a_record_is_no_way_to_set_anything_else() -> None:
    made = stored(function("3g.20gb"))
    forged = str(made.settings[RECORD]).replace('"annotations":{', '"annotations":{"example.com/any":"x",')
    sent = function("3g.20gb", template={CHOSEN: forged})
    assert stored(sent).settings == made.settings


def test_a_record_of_other_inputs_keeps_nothing() -> None:
    forged = '{"annotations":{},"inputs":"v1:0000000000000000","spec":{"timeoutSeconds":5}}'
    assert stored(function("3g.20gb", template={CHOSEN: forged})).settings == stored(function("3g.20gb")).settings
