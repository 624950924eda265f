"""Where the paths of printer columns lead: the forms that definitions use, and those that are not known here."""

from typing import Any

import pytest

from knative_mig.dev.api import json_path

POD = {
    "metadata": {"annotations": {"example.com/of": "one"}},
    "spec": {"containers": [{"image": "first"}, {"image": "second"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".spec.containers[1].image", "second"),
        (".spec.containers[*].image", "first"),
        (r".metadata.annotations.example\.com/of", "one"),
        (".metadata.annotations['example.com/of']", "one"),
        (r".metadata.annotations['example\.com/of']", "one"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        (".spec.containers[2].image", None),
        (".spec.nothing.below", None),
    ],
)
def test_where_a_path_leads(path: str, value: Any) -> None:
    assert json_path.found(POD, path) == value


@pytest.mark.parametrize(
    "path", ["..image", ".spec.containers[-1:].image", ".spec.containers[?(@.image)]", "spec", "."]
)
def test_a_form_that_is_not_known_leads_nowhere(path: str) -> None:
    assert json_path.found(POD, path) is None
