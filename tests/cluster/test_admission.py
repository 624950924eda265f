"""What admission does on a real API server, before Knative's own webhooks: to functions, as kn and kubectl write them,
to pods, and to everybody while it is away.

What is made for good asks for a profile that no GPU here has, so it takes no slice from other tests. What asks for one
that they have is only tried (`dryRun`).
"""

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.api import POD, REVISION, SERVICE, Api, Kind, Object, RefusedError
from tests.cluster.conftest import DeployFunction
from tests.cluster.function import BURST_CAPACITY, manifest
from tests.cluster.kn import Kn
from tests.cluster.slices import GATE
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import eventually, until_all, until_gone

pytestmark = [pytest.mark.testbed_only, pytest.mark.usefixtures("deployed")]

_DEADLINE = "serving.knative.dev/progress-deadline"
_TAINT = "nvidia.com/gpu"
_NOT_HERE = "7g.80gb"
_SECRET = ("knative-mig-webhook-certs", PLANNER_NAMESPACE)
_ADMISSION = "admission.knative-mig.dev"
_GROUP = "admissionregistration.k8s.io/v1"
_MUTATING = Kind(_GROUP, "mutatingwebhookconfigurations", namespaced=False)
_VALIDATING = Kind(_GROUP, "validatingwebhookconfigurations", namespaced=False)
_LIMIT = ("--limit", f"nvidia.com/mig-{_NOT_HERE}=1")


def _tried(api: Api, kind: Kind, body: Object, namespace: str) -> Object:
    """What it would be stored as."""
    return api.call("POST", f"{kind.path(namespace)}?dryRun=All", body)


def _template(api: Api, name: str, namespace: str) -> Object:
    found: Object = api.get(SERVICE, name, namespace)["spec"]["template"]
    return found


def _choice(api: Api, name: str, namespace: str) -> Object:
    """What is set beside what its user asks for; kn notes in each template when it last wrote it."""
    template = _template(api, name, namespace)
    annotations = template["metadata"]["annotations"]
    limits = {key: value for key, value in template["spec"].items() if key.endswith("TimeoutSeconds")}
    limits["timeoutSeconds"] = template["spec"]["timeoutSeconds"]
    return limits | {key: value for key, value in annotations.items() if not key.startswith("client.knative.dev/")}


def _generation(api: Api, name: str, namespace: str) -> int:
    return int(api.get(SERVICE, name, namespace)["metadata"]["generation"])


# ---------------------------------------------------------------- functions


def test_what_was_chosen_for_a_function_of_kn_stays_until_its_user_changes_it(kn: Kn, api: Api, namespace: str) -> None:
    words = ("llm", "--image", FUNCTION_IMAGE, *_LIMIT, "--annotation", "knative-mig.dev/movable=true", "--no-wait")
    made = kn.run("service", "create", *words)
    assert made.returncode == 0, made.stderr
    assert f"no GPU of this cluster can be cut into {_NOT_HERE}: legal today are " in made.stderr
    choice = _choice(api, "llm", namespace)
    assert choice[BURST_CAPACITY] == "-1"
    assert choice[_DEADLINE].endswith("s")
    assert choice["timeoutSeconds"] > 300  # Knative's own default
    assert choice["responseStartTimeoutSeconds"] == choice["timeoutSeconds"]

    kn("service", "create", "--force", *words)
    assert _choice(api, "llm", namespace) == choice
    kn("service", "update", "llm", "--label-service", "a=b", "--no-wait")
    assert _choice(api, "llm", namespace) == choice
    kn("service", "update", "llm", "--env", "A=1", "--no-wait")
    assert _choice(api, "llm", namespace) == choice
    kn("service", "update", "llm", "--timeout", "100", "--no-wait")
    after = _choice(api, "llm", namespace)
    assert (after["timeoutSeconds"], after["responseStartTimeoutSeconds"]) == (100, 100)
    assert after[BURST_CAPACITY] == "-1"


def test_a_file_that_is_written_again_makes_no_revision(kubectl: Kubectl, api: Api, namespace: str) -> None:
    body = manifest("llm", limits={f"nvidia.com/mig-{_NOT_HERE}": "1"})
    text, place = json.dumps(body), ("--filename", "-", f"--namespace={namespace}")
    kubectl("create", *place, stdin=text)
    template, generation = _template(api, "llm", namespace), _generation(api, "llm", namespace)
    assert template["metadata"]["annotations"][BURST_CAPACITY] == "-1"
    assert template["spec"]["enableServiceLinks"] is False  # Knative sets it for who creates, and for nobody later

    # Knative lets nobody take away who made it; of the template there is what the file says.
    made_by = api.get(SERVICE, "llm", namespace)["metadata"]["annotations"]
    again = json.dumps(body | {"metadata": {"name": "llm", "annotations": made_by}})
    # kubectl reads the version that it replaces; Knative writes the function's status in between now and then.
    eventually("it is written over what is there", lambda: kubectl("replace", *place, stdin=again))
    kubectl("apply", "--server-side", "--force-conflicts", *place, stdin=text)
    kubectl("label", "ksvc", "llm", "a=b", f"--namespace={namespace}")
    assert _template(api, "llm", namespace) == template
    assert _generation(api, "llm", namespace) == generation
    revisions = eventually("it has a revision", lambda: api.items(REVISION, namespace))
    assert [each["metadata"]["name"] for each in revisions] == ["llm-00001"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("--annotation", "knative-mig.dev/moveable=true", *_LIMIT), "moveable is not known", id="key"),
        pytest.param(("--annotation", "knative-mig.dev/priority=high", *_LIMIT), "'high', legal is", id="value"),
        pytest.param(("--limit", "nvidia.com/mig-1g.5gb=2"), "mig-1g.5gb is '2', legal is 1", id="two-slices"),
        pytest.param(
            ("--limit", "nvidia.com/mig-1g.5gb=1", "--limit", "nvidia.com/mig-2g.10gb=1"), "legal is one slice",
            id="two-profiles",
        ),
    ],
)  # fmt: skip
def test_what_is_written_wrongly_is_refused_with_the_reason(
    words: tuple[str, ...], told: str, kn: Kn, api: Api, namespace: str
) -> None:
    done = kn.run("service", "create", "llm", "--image", FUNCTION_IMAGE, *words, "--no-wait")
    assert done.returncode != 0
    assert told in done.stderr
    assert not api.items(SERVICE, namespace)


def test_a_function_of_somebody_elses_is_left_as_it_is(function: DeployFunction, api: Api, namespace: str) -> None:
    function("plain")
    template = _template(api, "plain", namespace)
    assert BURST_CAPACITY not in template.get("metadata", {}).get("annotations", {})
    assert template["spec"]["timeoutSeconds"] == 300


# ---------------------------------------------------------------- pods


def _pod(name: str, profile: str | None, *, of_a_revision: bool) -> Object:
    limits = {f"nvidia.com/mig-{profile}": "1"} if profile else {}
    return {
        "metadata": {"name": name, "labels": {"serving.knative.dev/revision": "fn-00001"} if of_a_revision else {}},
        "spec": {"containers": [{"name": "main", "image": FUNCTION_IMAGE, "resources": {"limits": limits}}]},
    }


def _given(pod: Object) -> tuple[bool, bool]:
    """Whether it is gated, and may go where GPUs are."""
    gated = any(each["name"] == GATE for each in pod["spec"].get("schedulingGates", []))
    return gated, any(each.get("key") == _TAINT for each in pod["spec"].get("tolerations", []))


@pytest.mark.parametrize("of_a_revision", [True, False], ids=["of-a-revision", "of-anybody"])
@pytest.mark.parametrize(
    ("profile", "given"),
    [
        pytest.param("3g.20gb", (True, True), id="slice"),
        pytest.param(_NOT_HERE, (False, True), id="slice-of-others"),
        pytest.param(None, (False, False), id="no-slice"),
    ],
)
def test_a_pod_that_asks_for_a_slice_is_gated_and_may_go_where_gpus_are(
    *, profile: str | None, given: tuple[bool, bool], of_a_revision: bool, api: Api, namespace: str
) -> None:
    # Pods that are no revision's go without where no webhook has answered within two seconds.
    eventually(
        "it is given what it needs and no more",
        lambda: _given(_tried(api, POD, _pod("tried", profile, of_a_revision=of_a_revision), namespace)),
        lambda seen: seen == given,
    )


@pytest.mark.parametrize("place", ["kube-system", PLANNER_NAMESPACE])
def test_pods_of_the_system_are_let_be(place: str, api: Api) -> None:
    pod = _pod("tried", "3g.20gb", of_a_revision=False)
    pod["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
        "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert _given(_tried(api, POD, pod, place)) == (False, False)


# ---------------------------------------------------------------- when it is away


@contextmanager
def _away(kubectl: Kubectl, api: Api) -> Iterator[None]:
    webhook = ("deployment/knative-mig-webhook", f"--namespace={PLANNER_NAMESPACE}")
    try:
        kubectl("scale", *webhook, "--replicas=0")
        until_all(
            api, POD, PLANNER_NAMESPACE, "no webhook is left", lambda world: not world,
            labelSelector="app.kubernetes.io/component=webhook",
        )  # fmt: skip
        yield
    finally:
        kubectl("scale", *webhook, "--replicas=2")
        kubectl("rollout", "status", *webhook, "--timeout=120s", timeout=130)


@pytest.mark.alone
@pytest.mark.slow(40)
def test_while_no_webhook_answers_functions_on_slices_wait_and_nobody_else_does(
    function: DeployFunction, kn: Kn, kubectl: Kubectl, api: Api, namespace: str
) -> None:
    kn("service", "create", "llm", "--image", FUNCTION_IMAGE, *_LIMIT, "--no-wait")
    with _away(kubectl, api):
        assert function("plain").ask().status == 200
        assert _given(_tried(api, POD, _pod("tried", "3g.20gb", of_a_revision=False), namespace)) == (False, False)

        with pytest.raises(RefusedError, match=r"failed calling webhook.*function-pods\.knative-mig\.dev"):
            _tried(api, POD, _pod("tried", "3g.20gb", of_a_revision=True), namespace)
        refused = kn.run("service", "create", "next", "--image", FUNCTION_IMAGE, *_LIMIT, "--no-wait")
        assert refused.returncode != 0
        assert "failed calling webhook" in refused.stderr
        kn("service", "delete", "llm", "--no-wait")
        until_gone(api, SERVICE.named("llm", namespace))
    _wait_gated(api, namespace)


@pytest.mark.alone
@pytest.mark.slow(20)
def test_certificates_that_somebody_took_away_are_made_anew(kubectl: Kubectl, api: Api, namespace: str) -> None:
    name, place = _SECRET
    before = _authorities(api)
    assert all(before)
    kubectl("patch", "secret", name, f"--namespace={place}", "--type=json", '-p=[{"op":"remove","path":"/data"}]')

    def renewed() -> bool:
        """The two configurations are written one after the other."""
        now = {*_authorities(api)}
        return len(now) == 1 and all(now) and not now & {*before}

    eventually("the same other authorities are in the configurations", renewed)
    replicas = api.items(POD, place, labelSelector="app.kubernetes.io/component=webhook")
    eventually("certificates are of theirs", lambda: all(_is_believed(each, _authorities(api)[0]) for each in replicas))
    _wait_gated(api, namespace)


def _wait_gated(api: Api, namespace: str) -> None:
    """The API server hears of a webhook's address and of whom to believe a moment after they are written."""
    eventually(
        "a function's pod is given what it needs",
        lambda: _given(_tried(api, POD, _pod("tried", "3g.20gb", of_a_revision=True), namespace)),
        lambda seen: seen == (True, True),
    )


def _is_believed(pod: Object, authorities: str) -> bool:
    """As the API server would, who verifies the certificate; OSError where it would not."""
    tls = ssl.create_default_context(cadata=base64.b64decode(authorities).decode())
    with (
        socket.create_connection((pod["status"]["podIP"], 8443), timeout=2) as plain,
        tls.wrap_socket(plain, server_hostname=f"webhook.{PLANNER_NAMESPACE}.svc"),
    ):
        return True


def _authorities(api: Api) -> list[str]:
    """Whom the API server believes, by webhook."""
    return [
        str(each["clientConfig"].get("caBundle", ""))
        for kind in (_MUTATING, _VALIDATING)
        for each in api.get(kind, _ADMISSION)["webhooks"]
    ]
