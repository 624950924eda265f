"""Names and settings as Knative has them."""

import pytest

from knative_mig.dev.serving.objects import child_name
from knative_mig.dev.serving.settings import Features, Settings, settings_of
from knative_mig.dev.serving.writes import difference
from tests.fake_api.patches import merged


@pytest.mark.parametrize(
    ("parent", "suffix", "name"),
    [
        ("llm", "-00001", "llm-00001"),
        ("a" * 57, "-00001", "a" * 57 + "-00001"),
        # What Knative's own ChildName gives.
        ("asdf" * 20, "-deployment", "asdfasdfasdfasdfasdf0c9f87d7f558d60d8a72493104c86e00-deployment"),
        ("llm", "-" + "y" * 70, "llmdf0b6913b6133b3d13014ae24855ba9f-" + "y" * 27),
        ("x" * 40, "y" * 31, "x" * 31 + "7cc0c8bff44642f893f8cb3f3613df04"),
    ],
)
def test_a_child_is_named_after_its_parent(parent: str, suffix: str, name: str) -> None:
    assert child_name(parent, suffix) == name


def test_names_that_are_too_long_stay_apart_and_short_enough() -> None:
    names = {child_name("x" * 60 + end, suffix) for end in "abc" for suffix in ("-deployment", "-" + "y" * 40)}
    assert len(names) == 6
    assert all(len(each) <= 63 and each[-1].isalnum() for each in names)


def test_what_the_autoscaler_goes_by_is_read_as_it_reads_it() -> None:
    words = {"initial-scale": "0", "allow-zero-initial-scale": "T"}
    settings = settings_of({"config-autoscaler": words, "config-deployment": {"progress-deadline": "2m"}})
    assert (settings.initial_scale, settings.zero_initial_scale, settings.progress_deadline_s) == (0, True, 120)


def test_settings_that_cannot_be_read_are_as_knative_has_them() -> None:
    odd = {"config-defaults": {"revision-timeout-seconds": "soon"}, "config-deployment": {"progress-deadline": "x"}}
    assert settings_of(odd) == Settings()


def test_the_domain_is_the_one_for_all() -> None:
    domains = {"_example": "", "team.example.com": "selector:\n  team: a", "example.com": ""}
    assert settings_of({"config-domain": domains}).domain == "example.com"
    assert settings_of({}).domain == "svc.cluster.local"


@pytest.mark.parametrize("data", [{}, {"example.com": ""}])
def test_where_the_gateway_answers_at_one_domain_alone_that_is_the_one(data: dict[str, str]) -> None:
    assert settings_of({"config-domain": data}, domain="localhost").domain == "localhost"


def test_urls_have_the_scheme_that_the_gateway_speaks_whatever_they_are_to_have_outside() -> None:
    assert settings_of({"config-network": {"default-external-scheme": "https"}}) == Settings()


def test_a_feature_may_be_allowed_without_being_on() -> None:
    features = Features((("kubernetes.podspec-affinity", "allowed"),))
    assert not features.is_off("kubernetes.podspec-affinity")
    assert not features.is_on("kubernetes.podspec-affinity")
    assert features.is_off("kubernetes.podspec-tolerations")
    assert features.is_on("kubernetes.podspec-volumes-emptydir")


def test_a_difference_is_the_patch_that_leads_to_the_new() -> None:
    old = {"a": 1, "b": {"c": 1, "d": [1]}, "e": {"f": 1}}
    new = {"b": {"c": 1, "d": [2]}, "e": {}, "g": {"h": None}}
    patch = difference(old, {**new, "g": {"h": 1}})
    assert merged(old, patch) == {**new, "g": {"h": 1}}
    assert difference(old, old) == {}
