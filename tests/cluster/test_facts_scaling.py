"""What the design relies on when it steers Knative's autoscaler, each fact seen on the real one."""

from tests.cluster.api import AUTOSCALER, DEPLOYMENT, ENDPOINT_SLICE, POD, REVISION, SERVERLESS_SERVICE, SERVICE, Api
from tests.cluster.conftest import DeployFunction
from tests.cluster.function import BURST_CAPACITY, MIN_SCALE
from tests.cluster.waits import eventually, is_true, until, until_all

_FOREIGN = "tests.example.com/note"


def test_a_floor_on_the_revision_reaches_the_autoscaler_without_a_new_revision_and_stays(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    hello = function(annotations={MIN_SCALE: "1"})
    (revision,) = hello.revisions()
    (first_pod,) = hello.wait_pods(1)
    template = api.get(DEPLOYMENT, f"{revision}-deployment", namespace)["spec"]["template"]

    hello.annotate_revision({MIN_SCALE: "2"})
    until(
        api, AUTOSCALER.named(revision, namespace), "has the floor",
        lambda item: item["metadata"]["annotations"].get(MIN_SCALE) == "2",
    )  # fmt: skip
    assert first_pod in hello.wait_pods(2)

    # A change of the Service that makes no Revision, so that its reconcilers pass over everything.
    patch = {"spec": {"traffic": [{"latestRevision": True, "percent": 100, "tag": "now"}]}}
    api.merge(SERVICE, hello.name, patch, namespace)
    until(api, SERVICE.named(hello.name, namespace), "is reconciled", is_true)
    assert api.get(REVISION, revision, namespace)["metadata"]["annotations"][MIN_SCALE] == "2"
    assert hello.autoscaler()["metadata"]["annotations"][MIN_SCALE] == "2"
    assert hello.revisions() == [revision]
    assert api.get(DEPLOYMENT, f"{revision}-deployment", namespace)["spec"]["template"] == template

    hello.annotate_revision({MIN_SCALE: None})
    until(
        api, AUTOSCALER.named(revision, namespace), "lost the floor",
        lambda item: MIN_SCALE not in item["metadata"]["annotations"],
    )  # fmt: skip
    hello.wait_zero()


def test_a_floor_on_the_autoscaler_is_reverted_and_a_note_under_another_prefix_stays(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    hello = function()
    revision = hello.revision
    written = api.annotate(AUTOSCALER, revision, {MIN_SCALE: "3", _FOREIGN: "kept"}, namespace)
    assert written["metadata"]["annotations"][MIN_SCALE] == "3"
    reverted = until(
        api, AUTOSCALER.named(revision, namespace), "is reverted",
        lambda item: item if MIN_SCALE not in item["metadata"]["annotations"] else None,
    )  # fmt: skip
    assert reverted["metadata"]["annotations"][_FOREIGN] == "kept"


def test_any_other_annotation_on_the_revision_rolls_its_pods(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    hello = function(annotations={MIN_SCALE: "1"})
    (before,) = hello.wait_pods(1)
    hello.annotate_revision({_FOREIGN: "rolled"})

    def another(world: dict[str, dict[str, object]]) -> str | None:
        return next((name for name, pod in world.items() if name != before and is_true(pod)), None)

    after = until_all(api, POD, namespace, "another pod is Ready", another)
    assert api.get(POD, after, namespace)["metadata"]["annotations"][_FOREIGN] == "rolled"
    assert hello.wait_pods(1) == [after]
    assert len(hello.revisions()) == 1


def test_burst_capacity_of_minus_one_keeps_the_activator_in_the_path(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    kept = function("kept", annotations={BURST_CAPACITY: "-1", MIN_SCALE: "1"})
    out = function("out", annotations={BURST_CAPACITY: "0", MIN_SCALE: "1"})
    # The control: without burst capacity the ingress goes straight to the pods once one is Ready.
    until(
        api,
        SERVERLESS_SERVICE.named(out.revision, namespace),
        "is in Serve mode",
        lambda item: item["spec"]["mode"] == "Serve",
    )
    assert api.get(SERVERLESS_SERVICE, kept.revision, namespace)["spec"]["mode"] == "Proxy"
    (pod,) = kept.pods()
    # What Knative writes is copied into what is read here by a controller of its own.
    backends = eventually("its service leads somewhere", lambda: _endpoints(api, namespace, kept.revision))
    assert pod["status"]["podIP"] not in backends
    assert _endpoints(api, "knative-serving", "activator-service") == backends
    assert kept.report()["headers"]["K-Proxy-Request"] == ["activator"]


def _endpoints(api: Api, namespace: str, service: str) -> set[str]:
    slices = api.items(ENDPOINT_SLICE, namespace, labelSelector=f"kubernetes.io/service-name={service}")
    return {ip for found in slices for endpoint in found["endpoints"] or () for ip in endpoint["addresses"]}


def test_the_deletion_cost_decides_which_pod_a_scale_down_removes(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    hello = function(annotations={MIN_SCALE: "1"})
    (older,) = hello.wait_pods(1)
    hello.annotate_revision({MIN_SCALE: "2"})
    (newer,) = set(hello.wait_pods(2)) - {older}
    # Left alone, the younger of two equal pods would go.
    api.annotate(POD, older, {"controller.kubernetes.io/pod-deletion-cost": "-100"}, namespace)
    hello.annotate_revision({MIN_SCALE: "1"})
    assert hello.wait_pods(1) == [newer]
