"""What is refused, in words that say what is legal; and what is let pass though it would be refused today."""

from dataclasses import replace

import pytest

from knative_mig.core.admission.annotations import CHOSEN, KNOWN
from knative_mig.core.admission.function import Asks
from knative_mig.core.admission.problems import refusals, warnings
from knative_mig.core.profile import ProfileName
from tests.rigs.functions import function

MIG = "nvidia.com/mig-"
IMPOSSIBLE = [
    ("slo-ttft-ms", "0"),
    ("slo-ttft-ms", "-5"),
    ("slo-ttft-ms", "1.5"),
    ("slo-ttft-ms", "fast"),
    ("slo-ttft-ms", ""),
    ("slo-ttft-ms", "٣"),
    ("slo-ttft-ms", "1\n"),
    ("slo-ttft-ms", "9" * 400),
    ("slo-tpot-ms", "1e3"),
    ("slo-tokens-per-window", "many"),
    ("expected-rps", "0"),
    ("expected-rps", "nan"),
    ("expected-rps", "inf"),
    ("expected-rps", "-1"),
    ("input-tokens", "0x10"),
    ("output-tokens", "1,000"),
    ("priority", "high"),
    ("priority", "2000000000"),
    ("priority", "-0"),
    ("movable", "True"),
    ("movable", "yes"),
    ("rollout", "replace"),
    ("profiles", ""),
    ("profiles", "3g.20gb,"),
    ("profiles", "3g"),
    ("model", "Tiny Model"),
    ("model", ""),
]
FLEET = frozenset({ProfileName.parse("3g.20gb"), ProfileName.parse("1g.5gb")})


def test_a_function_with_one_slice_and_known_annotations_is_fine() -> None:
    mine = {"knative-mig.dev/movable": "true", "knative-mig.dev/slo-ttft-ms": "500"}
    assert refusals(function("3g.20gb", annotations=mine, template=mine), None) == []
    assert refusals(function({"cpu": "1"}), None) == []


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    [why] = refusals(function("3g.20gb", template={"knative-mig.dev/moveable": "true"}), None)
    assert why.startswith("spec.template.metadata.annotations: knative-mig.dev/moveable is not known")
    assert all(key.rpartition("/")[2] in why for key in KNOWN)


def test_an_unknown_key_on_the_service_is_refused_too() -> None:
    [why] = refusals(function(annotations={"knative-mig.dev/x": "1"}), None)
    assert why.startswith("metadata.annotations: knative-mig.dev/x is not known")


def test_what_we_record_belongs_on_the_template() -> None:
    assert refusals(function("1g.5gb", template={CHOSEN: "{}"}), None) == []
    [why] = refusals(function("1g.5gb", annotations={CHOSEN: "{}"}), None)
    assert "knative-mig.dev/chosen is not known" in why


@pytest.mark.parametrize(("key", "value"), IMPOSSIBLE)
def test_an_impossible_value_is_refused_with_what_is_legal(key: str, value: str) -> None:
    [why] = refusals(function("3g.20gb", template={f"knative-mig.dev/{key}": value}), None)
    assert why.startswith(f"spec.template.metadata.annotations: knative-mig.dev/{key} is ")
    assert ", legal is " in why
    assert why.isprintable()
    assert len(why) < 400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slo-ttft-ms", "500"),
        ("slo-tpot-ms", "40"),
        ("slo-tokens-per-window", "10000"),
        ("expected-rps", "0.5"),
        ("expected-rps", "20"),
        ("input-tokens", "512"),
        ("output-tokens", "128"),
        ("priority", "-10"),
        ("priority", "0"),
        ("movable", "false"),
        ("rollout", "recreate"),
        ("rollout", "wait"),
        ("profiles", "1g.10gb, 2g.20gb"),
        ("profiles", "1g.5gb+me"),
        ("model", "llama-3.1-8b"),
    ],
)
def test_a_value_that_can_be_is_accepted(key: str, value: str) -> None:
    assert refusals(function("3g.20gb", template={f"knative-mig.dev/{key}": value}), None) == []


def test_every_known_key_has_a_value_that_is_refused_above() -> None:
    assert {f"knative-mig.dev/{key}" for key, _ in IMPOSSIBLE} == set(KNOWN)


@pytest.mark.parametrize("amount", ["2", "0", "500m", "1k", "one", "-1", ""])
def test_a_container_gets_one_slice(amount: str) -> None:
    [why] = refusals(function({f"{MIG}1g.5gb": amount}), None)
    assert "spec.template.spec.containers[0].resources" in why
    assert f"{MIG}1g.5gb is '{amount}', legal is 1" in why


@pytest.mark.parametrize("amount", ["1", "1000m", "1e0", "1.0"])
def test_one_may_be_written_in_any_way(amount: str) -> None:
    assert refusals(function({f"{MIG}1g.5gb": amount}), None) == []


def test_several_slices_in_one_container_are_refused() -> None:
    [why] = refusals(function({f"{MIG}1g.5gb": "1", f"{MIG}3g.20gb": "1"}), None)
    assert f"asks for {MIG}1g.5gb and {MIG}3g.20gb: legal is one slice" in why


def test_slices_in_several_containers_are_refused() -> None:
    [why] = refusals(function("1g.5gb", "3g.20gb"), None)
    assert "the containers c0, c1 ask for a slice each: legal is one slice a pod" in why


def test_a_name_that_is_no_profile_is_refused() -> None:
    [why] = refusals(function({f"{MIG}3g-20gb": "1"}), None)
    assert "'nvidia.com/mig-3g-20gb' is not a MIG profile: a profile is written like 3g.20gb" in why


def test_a_slice_is_a_limit() -> None:
    """Kubernetes refuses the pod, long after the Service was accepted."""
    asked = Asks(name="c0", requests={f"{MIG}3g.20gb": "1"})
    [why] = refusals(replace(function(), containers=(asked,)), None)
    assert f"{MIG}3g.20gb stands in requests: legal is in limits" in why
    both = Asks(name="c0", requests={f"{MIG}3g.20gb": "1"}, limits={f"{MIG}3g.20gb": "1"})
    assert refusals(replace(function(), containers=(both,)), None) == []


def first(profile: str, amount: str = "1") -> tuple[Asks, ...]:
    """One init container."""
    return (Asks(name="first", limits={f"{MIG}{profile}": amount}),)


def test_an_init_container_uses_the_slice_that_a_container_gets() -> None:
    assert refusals(replace(function("3g.20gb"), init_containers=first("3g.20gb")), None) == []
    assert refusals(replace(function("3g.20gb"), init_containers=(Asks(name="first"),)), None) == []


@pytest.mark.parametrize(("asked", "legal"), [("3g.20gb", f"a container, {MIG}3g.20gb"), ("", "none, as no container")])
def test_an_init_container_has_no_slice_of_its_own(asked: str, legal: str) -> None:
    asking = function(asked) if asked else function()
    [why] = refusals(replace(asking, init_containers=first("2g.10gb")), None)
    assert why.startswith("spec.template.spec.initContainers[0].resources asks for nvidia.com/mig-2g.10gb")
    assert legal in why


def test_an_init_container_gets_one_slice_too() -> None:
    [why] = refusals(replace(function("3g.20gb"), init_containers=first("3g.20gb", "2")), None)
    assert "spec.template.spec.initContainers[0].resources: nvidia.com/mig-3g.20gb is '2', legal is 1" in why


def test_every_problem_is_told_at_once() -> None:
    bad = function({f"{MIG}1g.5gb": "2"}, annotations={"knative-mig.dev/x": "1"}, template={"knative-mig.dev/y": "1"})
    assert len(refusals(bad, None)) == 3


# -- ratcheting --------------------------------------------------------------------------------------------------------


def test_what_was_there_before_does_not_hold_up_other_changes() -> None:
    old = function({f"{MIG}1g.5gb": "2"}, template={"knative-mig.dev/y": "1"})
    assert refusals(old, old) == []
    assert refusals(replace(old, annotations={"knative-mig.dev/movable": "true"}), old) == []


def test_only_what_is_newly_wrong_is_refused() -> None:
    old = function({f"{MIG}1g.5gb": "2"})
    [why] = refusals(replace(old, annotations={"knative-mig.dev/x": "1"}), old)
    assert "knative-mig.dev/x" in why
    [why] = refusals(function({f"{MIG}1g.5gb": "3"}), old)
    assert "'3'" in why


def test_a_function_that_is_being_deleted_passes_whatever_it_is() -> None:
    assert refusals(function({f"{MIG}1g.5gb": "2"}, deleting=True), function("1g.5gb")) == []


# -- warnings ----------------------------------------------------------------------------------------------------------


def test_a_profile_that_no_gpu_has_is_a_warning() -> None:
    [told] = warnings(function("7g.80gb"), FLEET)
    assert told == "no GPU of this cluster can be cut into 7g.80gb: legal today are 1g.5gb, 3g.20gb"
    assert refusals(function("7g.80gb"), None) == []


def test_a_profile_that_some_gpu_has_is_none() -> None:
    assert warnings(function("3g.20gb"), FLEET) == []


def test_an_allowed_profile_that_no_gpu_has_is_a_warning_where_none_of_them_is_there() -> None:
    assert warnings(function(template={"knative-mig.dev/profiles": "3g.20gb,7g.80gb"}), FLEET)[1:] == []
    told = warnings(function(template={"knative-mig.dev/profiles": "7g.80gb"}), FLEET)
    assert any("no GPU of this cluster can be cut into 7g.80gb" in each for each in told)


@pytest.mark.parametrize("fleet", [None, frozenset[ProfileName]()], ids=["not read yet", "no GPU yet"])
def test_while_the_gpus_are_not_known_nobody_is_warned(fleet: frozenset[ProfileName] | None) -> None:
    assert warnings(function("7g.80gb"), fleet) == []


def test_a_service_and_a_template_that_differ_are_a_warning() -> None:
    mine = {"knative-mig.dev/rollout": "wait"}
    [told] = warnings(function("3g.20gb", annotations=mine, template={"knative-mig.dev/rollout": "recreate"}), FLEET)
    assert told == "knative-mig.dev/rollout is 'wait' on the Service and 'recreate' on its template, which counts"


def test_annotations_without_a_slice_are_a_warning() -> None:
    [told] = warnings(function(template={"knative-mig.dev/movable": "true"}), FLEET)
    assert "asks for no slice" in told
