"""What is being written, and what Knative says it would set itself."""

import pytest

from knative_mig.adapters.kube import parse_admitted
from knative_mig.core.admission.limits import KnativeDefaults
from knative_mig.core.errors import BadInput
from tests.rigs.webhooks import service


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        pytest.param(None, KnativeDefaults(), id="nothing"),
        pytest.param({"_example": "enable-service-links: true"}, KnativeDefaults(), id="an-example"),
        pytest.param({"max-revision-timeout-seconds": "3600"}, KnativeDefaults(longest_timeout_s=3600), id="cap"),
        pytest.param({"enable-service-links": "True"}, KnativeDefaults(service_links=True), id="links"),
        pytest.param({"enable-service-links": "false"}, KnativeDefaults(service_links=False), id="no-links"),
        pytest.param({"enable-service-links": "default"}, KnativeDefaults(service_links=None), id="Kubernetes-decides"),
        pytest.param({"enable-service-links": ""}, KnativeDefaults(service_links=None), id="empty"),
    ],
)
def test_what_knative_sets_is_read_as_it_reads_it(data: dict[str, str] | None, meant: KnativeDefaults) -> None:
    assert parse_admitted.knative_defaults({"data": data}) == meant


@pytest.mark.parametrize("links", [True, False, None])
def test_whether_a_template_says_something_of_service_links_is_told_from_no(*, links: bool | None) -> None:
    assert parse_admitted.function(service("3g.20gb")).service_links is None
    assert parse_admitted.function(service("3g.20gb", enableServiceLinks=links)).service_links is links


def test_service_links_that_are_neither_are_not_read() -> None:
    with pytest.raises(BadInput, match=r"spec\.template\.spec\.enableServiceLinks: is 'no', legal is true or false"):
        parse_admitted.function(service("3g.20gb", enableServiceLinks="no"))


def test_init_containers_are_told_from_those_that_stay() -> None:
    asks = {"name": "first", "resources": {"limits": {"nvidia.com/mig-3g.20gb": "1"}}}
    read = parse_admitted.function(service("3g.20gb", initContainers=[asks]))
    assert [(each.name, each.slices) for each in read.init_containers] == [("first", {"nvidia.com/mig-3g.20gb": "1"})]
    assert read.slices == [("nvidia.com/mig-3g.20gb", "1")]
