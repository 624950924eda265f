"""What Knative's webhooks fill in and refuse, in its own words."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.dev.serving.objects import CONFIGURATION, ROUTE, SERVICE, Object
from knative_mig.dev.serving.settings import Settings, settings_of
from knative_mig.dev.serving.webhook.admission import Webhooks
from knative_mig.dev.serving.webhook.checks import checked
from knative_mig.dev.serving.webhook.defaults import defaulted

PLAIN = Settings()
IMAGE = "dev.local/llm"
AT = "spec.template.spec.containers[0]"
NOTES = "spec.template.metadata.annotations"
MOST, LEAST = "autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/min-scale"


def service(*containers: Object, notes: dict[str, str] | None = None, **spec: Any) -> Object:
    template: Object = {"spec": {"containers": list(containers) or [{"image": IMAGE}]}}
    for name in ("timeoutSeconds", "containerConcurrency", "volumes", "nodeSelector"):
        if name in spec:
            template["spec"][name] = spec.pop(name)
    if notes or "name" in spec:
        template["metadata"] = {"annotations": notes or {}}
        if "name" in spec:
            template["metadata"]["name"] = spec.pop("name")
    about = {"name": "llm", "namespace": "default", **spec.pop("metadata", {})}
    return {"apiVersion": SERVICE.group, "kind": "Service", "metadata": about, "spec": {"template": template, **spec}}


def admitted(body: Object, old: Object | None = None, kind: Kind = SERVICE, settings: Settings = PLAIN) -> str:
    """The refusal, empty for none."""
    return checked(kind, defaulted(kind, body, old, settings, "dev"), old, settings).refusal()


def test_a_bare_service_gets_knatives_defaults() -> None:
    found = defaulted(SERVICE, service(), None, PLAIN, "dev")
    assert found["metadata"]["annotations"] == {
        "serving.knative.dev/creator": "dev",
        "serving.knative.dev/lastModifier": "dev",
    }
    assert found["spec"] == {
        "template": {
            "spec": {
                "containerConcurrency": 0,
                "timeoutSeconds": 300,
                "enableServiceLinks": False,
                "containers": [
                    {
                        "image": IMAGE,
                        "name": "user-container",
                        "resources": {},
                        "readinessProbe": {"successThreshold": 1, "tcpSocket": {"port": 0}},
                    }
                ],
            }
        },
        "traffic": [{"latestRevision": True, "percent": 100}],
    }


def test_the_clusters_own_defaults_come_before_knatives() -> None:
    data = {"revision-timeout-seconds": "900", "max-revision-timeout-seconds": "3600", "container-concurrency": "4"}
    settings = settings_of({"config-defaults": {**data, "revision-cpu-request": "100m"}})
    spec = defaulted(SERVICE, service(), None, settings, "dev")["spec"]["template"]["spec"]
    assert (spec["timeoutSeconds"], spec["responseStartTimeoutSeconds"], spec["containerConcurrency"]) == (900, 300, 4)
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "100m"}}


def test_what_was_filled_in_is_no_change_when_it_comes_again() -> None:
    old = defaulted(SERVICE, service(), None, PLAIN, "dev")
    assert defaulted(SERVICE, old, old, PLAIN, "somebody else") == old
    changed = service({"image": "dev.local/llm:v2"}, metadata=old["metadata"])
    found = defaulted(SERVICE, changed, old, PLAIN, "somebody else")
    assert found["metadata"]["annotations"]["serving.knative.dev/lastModifier"] == "somebody else"
    assert found["metadata"]["annotations"]["serving.knative.dev/creator"] == "dev"


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (service({"name": "c"}), f"missing field(s): {AT}.image"),
        (
            service({"image": "A b"}),
            f'Failed to parse image reference: {AT}.image\nimage: "A b", error: could not parse reference: A b',
        ),
        (
            service({"image": IMAGE, "env": [{"name": "PORT"}]}),
            f'"PORT" is a reserved environment variable: {AT}.env[0].name',
        ),
        (
            service({"image": IMAGE, "ports": [{"containerPort": 8012}]}),
            [
                f"invalid value: 8012 is a reserved port: {AT}.ports.containerPort",
                "8012 is a reserved port, please use a different value",
            ],
        ),
        (
            service({"image": IMAGE, "ports": [{"containerPort": 1}, {"containerPort": 2}]}),
            [
                "more than one container port is set: spec.template.spec.containers[*].ports",
                "Only a single port is allowed across all containers",
            ],
        ),
        (service(containerConcurrency=1001), "expected 0 <= 1001 <= 1000: spec.template.spec.containerConcurrency"),
        (service(timeoutSeconds=601), "expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds"),
        (service(nodeSelector={"gpu": "a"}), "must not set the field(s): spec.template.spec.nodeSelector"),
        (
            service(notes={LEAST: "3", MOST: "2"}),
            f"max-scale=2 is less than min-scale=3: {NOTES}.{MOST}, {NOTES}.{LEAST}",
        ),
        (
            service(notes={"autoscaling.knative.dev/window": "5s"}),
            "expected 6s <= 5s <= 1h0m0s: spec.template.metadata.annotations.autoscaling.knative.dev/window",
        ),
        (
            service(metadata={"annotations": {"autoscaling.knative.dev/min-scale": "1"}}),
            [
                f'invalid key name "{LEAST}": metadata.annotations',
                f'autoscaling annotations must be put under "{NOTES}" to work',
            ],
        ),
        (
            service(notes={"serving.knative.dev/progress-deadline": "1500ms"}),
            f"progress-deadline=1500ms is not at second precision: {NOTES}.serving.knative.dev/progress-deadline",
        ),
        (service(name="other-1"), 'invalid value: "other-1" must have prefix "llm-": spec.template.metadata.name'),
        (
            service(traffic=[{"latestRevision": True, "percent": 60}]),
            "Traffic targets sum to 60, want 100: spec.traffic",
        ),
        (
            service(traffic=[{"revisionName": "a", "latestRevision": True, "percent": 100}]),
            'may not set revisionName "a" when latestRevision is true: spec.traffic[0].latestRevision',
        ),
        (
            service(volumes=[{"name": "v", "emptyDir": {}}]),
            'volume with name "v" not mounted: spec.template.spec.volumes[0].name',
        ),
    ],
)
def test_the_common_mistakes_are_refused_in_knatives_words(body: Object, refusal: str | list[str]) -> None:
    assert admitted(body) == (refusal if isinstance(refusal, str) else "\n".join(refusal))


def test_a_null_is_nothing() -> None:
    port = {"containerPort": None, "name": None, "protocol": None}
    assert admitted(service({"image": IMAGE, "ports": [port]})) == admitted(service({"image": IMAGE, "ports": [{}]}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    two = service({"name": "a"}, {"name": "b"})
    assert admitted(two).splitlines() == [
        f"missing field(s): spec.template.spec.containers[*].ports, {AT}.image, spec.template.spec.containers[1].image"
    ]


def test_a_feature_of_the_cluster_lets_its_field_in() -> None:
    settings = settings_of({"config-features": {"kubernetes.podspec-nodeselector": "enabled"}})
    assert admitted(service(nodeSelector={"gpu": "a"}), settings=settings) == ""


PORT_PROBE = {"tcpSocket": {"port": 9000}}


def beside(**sidecar: Any) -> Object:
    return service({"image": IMAGE, "ports": [{}]}, {"image": IMAGE, **sidecar})


@pytest.mark.parametrize(
    ("probes", "refusal"),
    [
        ({"livenessProbe": PORT_PROBE, "readinessProbe": {"exec": {"command": ["true"]}}}, ""),
        ({"startupProbe": {}}, "expected exactly one, got neither: {}.exec, {}.grpc, {}.httpGet, {}.tcpSocket"),
        ({"startupProbe": {"tcpSocket": {}}}, "invalid value: 0: {}.tcpSocket.port\nProbe port must be specified"),
        ({"startupProbe": {"httpGet": {"port": ""}}}, "invalid value: : {}.httpGet.port\nProbe port must be specified"),
    ],
)
def test_a_sidecar_may_be_asked_how_it_is_where_the_cluster_says_so(probes: Object, refusal: str) -> None:
    settings = settings_of({"config-features": {"multi-container-probing": "enabled"}})
    said = refusal.replace("{}", "spec.template.spec.containers[1].startupProbe")
    assert admitted(beside(**probes), settings=settings) == said


@pytest.mark.parametrize("settings", [PLAIN, settings_of({"config-features": {"multi-container-probing": "allowed"}})])
def test_elsewhere_a_sidecar_is_not_asked(settings: Settings) -> None:
    assert admitted(beside(livenessProbe=PORT_PROBE), settings=settings).startswith("must not set the field(s)")


@pytest.mark.parametrize("source", ["fieldRef", "resourceFieldRef"])
def test_a_variable_is_of_a_field_where_the_cluster_lets_it(source: str) -> None:
    body = service({"image": IMAGE, "env": [{"name": "A", "valueFrom": {source: {"resource": "limits.cpu"}}}]})
    assert admitted(body) == f"must not set the field(s): {AT}.env[0].valueFrom.{source}"
    for word in ("enabled", "allowed"):
        settings = settings_of({"config-features": {"kubernetes.podspec-fieldref": word}})
        assert admitted(body, settings=settings) == ""


def test_a_template_that_keeps_its_name_is_not_given_newer_defaults() -> None:
    old = service(name="llm-blue")
    assert defaulted(SERVICE, old, old, PLAIN, "dev")["spec"]["template"] == old["spec"]["template"]
    renamed = service(name="llm-green")
    assert defaulted(SERVICE, renamed, old, PLAIN, "dev")["spec"]["template"] != renamed["spec"]["template"]


def test_a_template_that_keeps_its_name_keeps_all_else() -> None:
    old = defaulted(SERVICE, service(name="llm-blue"), None, PLAIN, "dev")
    new = json.loads(json.dumps(old))
    assert admitted(new, old) == ""
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "dev.local/llm:v2"
    assert admitted(new, old).startswith("Saw the following changes without a name change (-old +new)")


def test_a_revisions_spec_is_never_changed_and_its_scaling_is() -> None:
    old: Object = {"metadata": {"name": "llm-1", "namespace": "default"}, "spec": {"containers": [{"image": IMAGE}]}}
    note = {"autoscaling.knative.dev/min-scale": "2"}
    scaled = {**old, "metadata": {**old["metadata"], "annotations": note}}
    assert admitted(scaled, old, REVISION) == ""
    other = {**old, "spec": {"containers": [{"image": "other"}]}}
    assert admitted(other, old, REVISION).startswith("Immutable fields changed (-old +new): spec")


def test_nobody_belongs_to_a_service_by_saying_so() -> None:
    body: Object = {
        "metadata": {"name": "r", "labels": {"serving.knative.dev/service": "llm"}},
        "spec": {"traffic": []},
    }
    told = "missing field(s): metadata.labels.serving.knative.dev/service"
    assert told in admitted(body, kind=ROUTE)
    owned = {**body["metadata"], "ownerReferences": [{"kind": "Service", "name": "llm"}]}
    assert told not in admitted({**body, "metadata": owned}, kind=ROUTE)


def reviewed(hook: Any, body: Object, kind: str = "Service", below: str = "") -> Object:
    request = {"uid": "u", "kind": {"kind": kind}, "object": body, "userInfo": {"username": "kn"}, "subResource": below}
    response: Object = json.loads(hook(json.dumps({"request": request}).encode()))["response"]
    assert response["uid"] == "u"
    return response


def test_the_webhooks_speak_admission_reviews() -> None:
    hooks = Webhooks(lambda: PLAIN)
    patched = reviewed(hooks.default, service())
    patch = {each["path"]: each["value"] for each in json.loads(base64.b64decode(patched["patch"]))}
    assert patch["/metadata"]["annotations"]["serving.knative.dev/creator"] == "kn"
    assert patch["/spec"]["traffic"] == [{"percent": 100, "latestRevision": True}]
    whole = {**service(), "metadata": patch["/metadata"], "spec": patch["/spec"]}
    assert "patch" not in reviewed(hooks.default, {**whole, "kind": CONFIGURATION.kind}, "Pod")
    allowed = reviewed(hooks.validate, whole)
    assert allowed["allowed"]
    assert any("Kubernetes default value is insecure" in each for each in allowed["warnings"])
    refused = reviewed(hooks.validate, service({"name": "c"}))
    assert refused["status"]["message"].startswith("validation failed: ")
    assert f"missing field(s): {AT}.image" in refused["status"]["message"]
    assert reviewed(hooks.validate, service({"name": "c"}), below="status")["allowed"]


@pytest.mark.parametrize("amounts", [{"limits": {"cpu": "one"}}, {"requests": {"memory": "2 Gi"}}])
def test_an_amount_that_is_none_is_refused_as_what_cannot_be_decoded(amounts: Object) -> None:
    response = reviewed(Webhooks(lambda: PLAIN).default, service({"image": IMAGE, "resources": amounts}))
    assert response["status"] == {
        "status": "Failure",
        "code": 400,
        "reason": "BadRequest",
        "message": "mutation failed: cannot decode incoming new object: quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    }


@pytest.mark.parametrize("amounts", [{"limits": {"cpu": 1}}, {"requests": {"memory": "2Gi", "cpu": None}}, {}])
def test_amounts_are_written_as_texts_and_as_numbers(amounts: Object) -> None:
    assert reviewed(Webhooks(lambda: PLAIN).default, service({"image": IMAGE, "resources": amounts}))["allowed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"containers": "x"},
        {"containers": [1]},
        {"containers": [{"image": IMAGE, "resources": "x"}]},
        {"containers": [{"image": IMAGE, "resources": {"limits": ["x"]}}]},
        {"containers": [{"image": IMAGE, "readinessProbe": 1}]},
        {"timeoutSeconds": "long", "containers": [{"image": IMAGE}]},
    ],
)
def test_what_is_of_another_form_is_left_for_the_api_server_to_refuse(wrong: Object) -> None:
    body = service()
    body["spec"]["template"]["spec"] = wrong
    response = reviewed(Webhooks(lambda: replace(PLAIN, idle_s=5)).default, body)
    assert (response["allowed"], "patch" in response) == (True, False)
