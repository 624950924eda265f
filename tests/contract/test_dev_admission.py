"""The project's own admission in the path of writes of `dev`: the same code that answers a cluster's API server."""

import functools

import pytest

from knative_mig.adapters.admission import Admission, Webhook
from knative_mig.core.admission.choice import Choice, decide
from knative_mig.core.admission.function import Function
from knative_mig.core.admission.pods import Additions, NewPod, additions
from knative_mig.core.admission.problems import refusals
from knative_mig.core.profile import ProfileName
from knative_mig.dev.api.admission import Hook, Phase
from knative_mig.ports.webhook import Judgement
from tests.rigs.api_server import FUNCTIONS, PODS, Answered, Json, Rig

_SLICE = {"limits": {"nvidia.com/mig-3g.20gb": "1"}}
_ON_A_SLICE = {"name": "a", "image": "x", "resources": _SLICE}


class _Decisions:
    """Core's own, for a cluster of which little is known."""

    def choose(self, new: Function, old: Function | None) -> Choice:
        return decide(new, old, 3600)

    def judge(self, new: Function, old: Function | None) -> Judgement:
        return Judgement(refusals=tuple(refusals(new, old)))

    def add(self, pod: NewPod, *, dry_run: bool) -> Additions:  # noqa: ARG002  the port's
        return additions(pod, frozenset({ProfileName.parse("3g.20gb")}))


@pytest.fixture
def rig() -> Rig:
    admission = Admission(_Decisions(), lambda *_: None)

    def hook(webhook: Webhook, phase: Phase, *resources: str) -> Hook:
        ask = functools.partial(admission.answer, webhook)
        return Hook(name="functions.knative-mig.dev", phase=phase, ask=ask, resources=resources)

    functions = "services.serving.knative.dev"
    return Rig(
        [hook(Webhook.MUTATE, Phase.MUTATE, functions, "pods"), hook(Webhook.VALIDATE, Phase.VALIDATE, functions)]
    )


def _function(**annotations: str) -> Json:
    return {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [_ON_A_SLICE]}}}


def test_a_function_on_a_slice_is_given_its_settings_once(rig: Rig) -> None:
    made = rig.create(FUNCTIONS, "f", spec=_function())
    template = made["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/target-burst-capacity"] == "-1"
    assert template["spec"]["timeoutSeconds"] == 570
    again = rig.merge(f"{FUNCTIONS}/f", {"metadata": {"labels": {"a": "b"}}})
    assert again["spec"] == made["spec"]
    assert again["metadata"]["generation"] == 1


def test_what_cannot_be_is_refused_with_what_is_legal(rig: Rig) -> None:
    with pytest.raises(Answered) as refused:
        rig.create(FUNCTIONS, "f", spec=_function(**{"knative-mig.dev/slo-ttft-ms": "soon"}))
    assert 'admission webhook "functions.knative-mig.dev" denied the request' in refused.value.body["message"]
    assert "slo-ttft-ms" in refused.value.body["message"]


def test_a_pod_that_wants_a_slice_waits_at_the_gate_and_tolerates_gpu_nodes(rig: Rig) -> None:
    labels = {"serving.knative.dev/revision": "f-00001"}
    spec = rig.create(PODS, "p", metadata={"labels": labels}, spec={"containers": [_ON_A_SLICE]})["spec"]
    assert [each["name"] for each in spec["schedulingGates"]] == ["knative-mig.dev/slice"]
    assert "nvidia.com/gpu" in [each["key"] for each in spec["tolerations"]]
