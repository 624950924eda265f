"""A real language model as a function: from zero by OpenAI's own client, moved with its running generations by the
planner's mover, and in a pod that is deleted its slice given back at once.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.cluster import claims, tiny_llm
from tests.cluster.api import NAMESPACE, NODE, POD, SERVICE, Api, Kind, Object
from tests.cluster.conversations import PATH, TOKENS, right_answer, talking_to
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.function import MIN_SCALE, Function, manifest
from tests.cluster.gpu_node import GpuNode
from tests.cluster.kn import Kn
from tests.cluster.load import load
from tests.cluster.slices import EVENT, GpuNodeView, Slice, end_undrained, reset
from tests.cluster.waits import PATIENCE_SECONDS, eventually, until

pytestmark = [pytest.mark.testbed_only, pytest.mark.usefixtures("deployed"), pytest.mark.claims_a_node]

_LABEL: Final = "tests.knative-mig.dev/generations"
_SECRET: Final = Kind("v1", "secrets")
# Never at zero before its load begins, however slowly that comes.
_MOVABLE: Final = {"knative-mig.dev/movable": "true", "autoscaling.knative.dev/window": "60s"}
_ALWAYS: Final = {MIN_SCALE: "1"}
_PACED: Final = ("--pace=llama-2-7b", "--pace-gpu=A100-40GB")  # 25 ms a token
_SNOW: Final[ChatCompletionUserMessageParam] = {"role": "user", "content": "What colour is snow?"}
_LOADED: Final[dict[tuple[str, ...], str]] = {}  # by this process
_RESTRICTED: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node to ourselves, empty at first, and a namespace whose functions stay on it."""

    cluster: Cluster
    api: Api
    namespace: str
    node: GpuNodeView
    image: str

    def function(self, name: str) -> Function:
        return Function(
            name=name, namespace=self.namespace, api=self.api, gateway=self.cluster.gateway, domain=self.cluster.domain
        )

    def deploy(
        self, name: str, profile: str, *words: str, annotations: Mapping[str, str], at_once: int = 0
    ) -> Function:
        """Not waited for. `words` are the model's options; `at_once`: so many requests a pod, 0: any."""
        body = manifest(
            name, image=self.image, limits={f"nvidia.com/mig-{profile}": "1"}, annotations=annotations,
            container={"args": list(words), "securityContext": _RESTRICTED}, nodeSelector={_LABEL: self.node.name},
            containerConcurrency=at_once,
        )  # fmt: skip
        self.api.create(SERVICE, body, self.namespace)
        return self.function(name)

    def held_by(self, pod: str) -> Slice:
        """Who runs may have answered before its agent has said so."""
        told = f"says that {pod} holds a slice"
        found = self.node.wait(told, lambda slices: any(pod in each.holders for each in slices))
        [held] = [each for each in found if pod in each.holders]
        return held

    def handed_over(self) -> list[str]:
        return [each["message"] for each in self.api.items(EVENT, self.namespace) if each["reason"] == "HandedOver"]

    def is_ending(self, pod: str) -> bool:
        """It is there still, and was told to end."""
        return "deletionTimestamp" in self.api.get(POD, pod, self.namespace)["metadata"]


@pytest.fixture
def image(cluster: Cluster, gpu_nodes: list[GpuNode]) -> str:
    """Loaded by the first test that asks, in its turn: 150 MB a node are not written beside a test that is alone."""
    names = tuple(node.name for node in gpu_nodes)
    if names not in _LOADED:
        _LOADED[names] = tiny_llm.loaded(cluster.testbed, *names)
    return _LOADED[names]


@pytest.fixture
def place(cluster: Cluster, api: Api, namespace: str, gpu_nodes: list[GpuNode], image: str) -> Iterator[Place]:
    """Kept by a label, for the planner sends pods by host names itself."""
    with claims.one_of([each.name for each in gpu_nodes]) as name:
        api.merge(NODE, name, {"metadata": {"labels": {_LABEL: name}}})
        node = GpuNodeView(name, api)
        reset([node])
        yield Place(cluster=cluster, api=api, namespace=namespace, node=node, image=image)
        api.delete(NAMESPACE, namespace)
        for pod in api.items(POD, namespace):
            end_undrained(api, pod)


@pytest.mark.slow(60)
def test_openais_own_client_is_answered_by_a_function_that_kn_made_and_that_was_at_zero(
    place: Place, kn: Kn, measured: Measured
) -> None:
    kn(
        "service", "create", "tiny", "--image", place.image, "--limit", "nvidia.com/mig-3g.20gb=1", "--annotation",
        "knative-mig.dev/movable=true", "--annotation", "autoscaling.knative.dev/initial-scale=0", "--node-selector",
        f"{_LABEL}={place.node.name}",
    )  # fmt: skip
    tiny = place.function("tiny")
    assert tiny.pods() == []
    asked = time.monotonic()
    with openai.OpenAI(
        base_url=f"http://{place.cluster.gateway}/v1", api_key="none", default_headers={"Host": tiny.host},
        timeout=PATIENCE_SECONDS, max_retries=0,
    ) as client:  # fmt: skip
        words: list[str] = []
        for chunk in client.chat.completions.create(model="tiny-llm", messages=[_SNOW], temperature=0, stream=True):
            if not words:
                measured("first chunk from zero", time.monotonic() - asked, "s")
            words += [choice.delta.content or "" for choice in chunk.choices]
        assert "".join(words) == "Snow is white."
        assert len(words) > 1
        whole = client.chat.completions.create(model="tiny-llm", messages=[_SNOW], temperature=0)
        assert whole.choices[0].message.content == "Snow is white."
        completion = client.completions.create(model="tiny-llm", prompt="Once", max_tokens=8)
        assert completion.usage is not None
        assert completion.usage.completion_tokens <= 8
        assert [each.id for each in client.models.list()] == ["tiny-llm"]
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="other", prompt="Once")
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="tiny-llm", prompt="Once", max_tokens=-1)
    [pod] = tiny.pods()
    assert place.held_by(pod["metadata"]["name"]).profile == "3g.20gb"


@pytest.mark.slow(200)
@pytest.mark.timeout(800, func_only=True)
def test_a_move_takes_running_generations_along_and_the_slice_is_another_functions_while_they_still_stream(
    place: Place, measured: Measured
) -> None:
    right = right_answer()
    # A 4g.20gb lies at the beginning of a GPU and nowhere else.
    place.node.want("3g.20gb@0", "7g.40gb@0")
    whole = place.deploy("whole", "7g.40gb", annotations=_ALWAYS)
    mover = place.deploy("mover", "3g.20gb", *_PACED, annotations=_MOVABLE)
    for each in (whole, mover):
        each.wait_ready(seconds=150)
    assert place.api.get(_SECRET, "knative-mig-relay", place.namespace)["immutable"]
    with talking_to(mover) as talks:
        talks.begin()
        talks.begin(after=TOKENS // 2)
        [old] = mover.wait_pods(1)
        before = place.held_by(old)
        assert before.start == 0

        llm = place.deploy("llm", "4g.20gb", annotations=_ALWAYS)
        begun = time.monotonic()
        until(
            place.api, POD.named(old, place.namespace), "is told to end",
            lambda pod: "deletionTimestamp" in pod["metadata"], seconds=300,
        )  # fmt: skip
        told = time.monotonic()
        of_old = talks.under_way()
        measured("from the wish for its place until the old pod is told to end", told - begun, "s")
        eventually("its generations are handed over", place.handed_over, seconds=200, every=0.2)
        measured("from then until its generations are elsewhere", time.monotonic() - told, "s")
        llm.wait_ready(seconds=150)
        measured("from then until the other function is Ready in its place", time.monotonic() - told, "s")

        [new] = llm.wait_pods(1)
        assert (place.held_by(new).gpu, place.held_by(new).start) == (before.gpu, 0)
        assert llm.ask("/health").status == 200
        assert place.is_ending(old), "the old relay is still there"
        assert any(each.goes_on for each in of_old), "and streams"
    assert [each for each in place.handed_over() if not each.startswith("0 of")], place.handed_over()
    assert [each.trouble for each in talks.answers] == [""] * len(talks.answers)
    for answer in talks.answers:
        assert answer.text == right
        assert (answer.tokens, len(answer.ids)) == (TOKENS, 1)
    measured("longest gap between two chunks", [each.longest_gap for each in talks.answers], "s")
    [after] = mover.wait_pods(1)
    assert after != old


@pytest.mark.slow(90)
@pytest.mark.timeout(400, func_only=True)
def test_in_a_pod_that_is_deleted_an_idle_engine_gives_its_slice_back_long_before_sigterm_and_no_request_is_lost(
    place: Place, measured: Measured
) -> None:
    # Without a containerConcurrency Knative's activator panics at a request in the moment in which the last pod goes.
    tiny = place.deploy("tiny", "3g.20gb", annotations=_ALWAYS, at_once=8).wait_ready(seconds=150)
    [old] = tiny.wait_pods(1)
    held = place.held_by(old)
    with load(tiny, 1, path="/v1/models") as requests:
        requests.go_on(20)
        deleted = time.monotonic()
        place.api.delete(POD, old, place.namespace)
        place.node.wait(
            "has its slice back",
            lambda slices: any(each.device == held.device and each.state == "Released" for each in slices),
        )
        measured("from a pod's deletion until its slice is released", time.monotonic() - deleted, "s")
        assert place.is_ending(old), "its containers run on"
        tiny.wait_pods(1, seconds=150)
        requests.go_on(20)
    assert requests.failed == []
    assert tiny.ask(PATH, body='{"model": "tiny-llm", "messages": []}').status == 400
