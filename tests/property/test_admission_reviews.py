"""Reviews one change away from a good one: each is answered or refused as bad input, and no patch of ours fails."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from knative_mig.adapters.admission import Admission, Outcome, Webhook
from knative_mig.core.admission.choice import Choice, decide
from knative_mig.core.admission.function import Function
from knative_mig.core.admission.pods import Additions, NewPod, additions
from knative_mig.core.admission.problems import refusals, warnings
from knative_mig.core.errors import BadInput
from knative_mig.core.profile import ProfileName
from knative_mig.ports.webhook import Judgement
from tests.rigs.webhooks import UID, Answer, function_pod, pod, review, service

FLEET = frozenset({ProfileName.parse("3g.20gb")})
OWN = {"knative-mig.dev/rollout": "recreate", "knative-mig.dev/profiles": "1g.5gb,3g.20gb", "example.com/a~b/c": "x"}
VALID: list[Any] = [
    review("CREATE", service("3g.20gb", annotations=OWN, template=OWN, timeoutSeconds=40)),
    review("CREATE", service()),
    review("UPDATE", service("3g.20gb", template=OWN), service("1g.5gb", annotations=OWN)),
    review("DELETE", None, service("3g.20gb")),
    review("CREATE", pod("3g.20gb", initContainers=[{"name": "i", "restartPolicy": "Always"}]), kind="Pod"),
    review("CREATE", function_pod(env=[{"name": "A"}], volumeMounts=[{"mountPath": "/a"}]), kind="Pod"),
    review("CREATE", pod(nodeName="n1", schedulingGates=[{"name": "x"}], overhead={"cpu": "1"}), kind="Pod"),
]
TEXTS = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "1e999999999",
        "9" * 5000,
        "nan",
        "\ud800",
        "\x00",
        "knative-mig.dev/",
        "nvidia.com/mig-1g.5gb",
        "~1",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=4
)


class Decisions:
    def choose(self, new: Function, old: Function | None) -> Choice:
        return decide(new, old, 3600)

    def judge(self, new: Function, old: Function | None) -> Judgement:
        return Judgement(refusals=tuple(refusals(new, old)), warnings=tuple(warnings(new, FLEET)))

    def add(self, pod: NewPod, *, dry_run: bool) -> Additions:  # noqa: ARG002
        return additions(pod, FLEET)


def places(of: Any) -> list[tuple[Any, Any]]:
    """Every container in it with every key."""
    keys = list(of) if isinstance(of, dict) else range(len(of)) if isinstance(of, list) else []
    return [(of, key) for key in keys] + [place for key in keys for place in places(of[key])]


@st.composite
def nearly_valid(draw: st.DrawFn) -> Any:
    content = copy.deepcopy(draw(st.sampled_from(VALID)))
    inside, key = draw(st.sampled_from(places(content)))
    match draw(st.sampled_from(["replace", "remove", "add", "keep"])):
        case "replace":
            inside[key] = draw(VALUES)
        case "remove":
            del inside[key]
        case "add" if isinstance(inside, dict):
            inside[draw(TEXTS)] = draw(VALUES)
        case "add":
            inside.append(draw(VALUES))
    return content


@given(nearly_valid(), st.sampled_from(Webhook))
def test_each_is_answered_or_refused(content: Any, webhook: Webhook) -> None:
    outcomes: list[Outcome] = []
    admission = Admission(Decisions(), lambda _, outcome: outcomes.append(outcome))
    try:
        answer = Answer(200, admission.answer(webhook, json.dumps(content).encode()))
    except BadInput as bad:
        told = str(bad)
        assert (outcomes, told.isprintable(), len(told) < 1000) == ([Outcome.MALFORMED], True, True)
        return
    assert len(outcomes) == 1
    made = json.loads(answer.body)
    assert made["response"]["uid"] == content["request"]["uid"]
    if "patch" in made["response"]:
        made["response"]["uid"] = UID
        Answer(200, json.dumps(made).encode()).applied_to(content["request"]["object"])


@given(st.binary(max_size=200), st.sampled_from(Webhook))
def test_noise_is_bad_input(noise: bytes, webhook: Webhook) -> None:
    admission = Admission(Decisions(), lambda *_: None)
    try:
        admission.answer(webhook, noise)
    except BadInput:
        return
    raise AssertionError(noise)
