"""docs/api.md says what the code takes and gives: annotations, events, the GpuNode's fields, conditions and reasons."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import yaml

from activator_hooks.source.__main__ import PLANNER
from activator_hooks.webhook.settings import WebhookSettings
from knative_mig.adapters.admission import Webhook
from knative_mig.adapters.cloud_events import DEEPEST, JSON, LARGEST, LONGEST, STRUCTURED, decode
from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.conditions import written
from knative_mig.core.admission import choice
from knative_mig.core.admission.annotations import CHOSEN, KNOWN, ROLLOUT, Rollout
from knative_mig.core.admission.function import Asks, Part, Place
from knative_mig.core.admission.function import Function as Asking
from knative_mig.core.admission.limits import start_limits
from knative_mig.core.admission.pods import GPU_TAINT
from knative_mig.core.agent.layout_change import PLACE_BUSY
from knative_mig.core.agent.readings import Unnamed
from knative_mig.core.agent.report_conditions import Standing, conditions
from knative_mig.core.cluster import planned
from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.slice_condition import GIVEN, condition
from knative_mig.core.cluster.staleness import Outside
from knative_mig.core.cluster.waiting import Unplanned
from knative_mig.core.events import MOST_AT_ONCE, OUTCOMES, PENDING, Event, PendingRevision, Why
from knative_mig.core.gpu_node import GATE, ConditionType, GpuHealth, GpuNode, GpuStatus, JournalState, Layout, SliceId
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mig_tables import GPU_MODELS
from knative_mig.core.mover.values import Leg, Move, PodRef, Spot
from knative_mig.core.outcomes.outcome import Outcome
from knative_mig.core.outcomes.outcome import event_of as outcome_event
from knative_mig.core.outcomes.watch import Watch
from knative_mig.core.outcomes.wording import CONDITION
from knative_mig.core.pending.asks import Ask
from knative_mig.core.pending.demand import Cause, Demand
from knative_mig.core.pending.event import event_of as pending_event
from knative_mig.core.planner.decisions import Because, Reason
from knative_mig.core.profile import ProfileName
from reconfigurer.planner.door import DoorSettings
from reconfigurer.planner.settings import PlannerSettings
from tests.rigs.small_cluster import gpu, gpu_node, pod

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()
CRD = yaml.safe_load((ROOT / "config" / "core" / "300-gpunode.yaml").read_text())
BIG = "3g.20gb@4"
LLM = Function("team", "llm-00001")


def rows(heading: str) -> list[list[str]]:
    """Of the table that begins so, without its head."""
    _, _, after = PAGE.partition(f"\n{heading}")
    assert after
    lines = after.partition("\n\n")[0].split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_annotation_is_there_with_what_is_legal_and_an_example_that_is() -> None:
    table = {words(name)[0]: (legal, words(like)[0]) for name, legal, like, *_ in rows("| annotation | legal |")}
    assert {name: legal for name, (legal, _) in table.items()} == {name: legal for name, (_, legal) in KNOWN.items()}
    assert [name for name, (_, like) in table.items() if not KNOWN[name][0](like)] == []
    assert f"`{CHOSEN}`" in PAGE


def test_what_is_set_on_a_function_and_for_how_long() -> None:
    named = [words(row[0]) for row in rows("| on the template |")]
    assert [name for name, *_ in named[:-1]] == [place.name for place in choice._MANAGED]
    sizes = rows("| profile's nominal GB |")
    every = {each.name.memory_gb for model in GPU_MODELS for each in model.profiles}
    assert (int(sizes[0][0]), int(sizes[-1][0])) == (min(every), max(every))
    for gigabytes, deadline, recreated, timeout in sizes:
        waits = start_limits(memory_gb=int(gigabytes), waits_for_a_slice=True)
        recreates = start_limits(memory_gb=int(gigabytes), waits_for_a_slice=False)
        assert (deadline, recreated) == (f"{waits.progress_deadline_s}s", f"{recreates.progress_deadline_s}s")
        assert int(timeout) == waits.timeout_s == recreates.timeout_s


def test_a_function_is_given_what_the_page_says() -> None:
    asked = Asks(limits={"nvidia.com/mig-3g.20gb": "1"})
    edits = choice.decide(Asking(containers=(asked,)), None, cap_s=10_000).edits
    (burst, value), *_ = rows("| on the template |")
    assert words(value)[0] == edits[Place(Part.ANNOTATIONS, words(burst)[0])]


def test_each_way_of_a_rollout_has_its_row() -> None:
    assert [words(row[0])[0] for row in rows(f"| `{ROLLOUT}` | the older")] == [*Rollout]


def test_what_a_pod_is_given() -> None:
    assert f"the toleration `{GPU_TAINT.key}` (`Exists`, `{GPU_TAINT.effect}`)" in PAGE
    assert f"`{GATE}` if some GPU" in PAGE


def test_the_condition_of_a_pod_is_as_the_page_shows_it() -> None:
    table = [[*map(words, row)] for row in rows("| `type` | `status` |")]
    (waits, given) = (condition(None, *words_of) for words_of in ((Because.NO_SPARE_SLICE, "", 0.0), (GIVEN, "", 0.0)))
    assert [row[:2] for row in table] == [[[each.type], [str(each.status)]] for each in (waits, given)]
    assert table[1][2] == [given.reason]
    (example,) = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(type:.*?)```", PAGE, re.DOTALL)]
    body = {"metadata": {"namespace": "team", "name": "p"}, "status": {"conditions": [example]}}
    assert parse.pod(body).told == condition(None, example["reason"], example["message"], 1769860800.0)
    assert example["reason"] == waits.reason
    assert list(example) == ["type", *written(waits)]
    assert f"that is {CONDITION.least_s:.0f} s after the last word" in PAGE
    assert f"may be {PlannerSettings().tell_again_s:.0f} s old" in PAGE


def names_in(text: str) -> set[str]:
    return set(re.findall(r"knative-mig\.dev/[a-z][a-z-]*", text)) - {"knative-mig.dev/v"}


def test_every_name_under_our_prefix_is_there_and_no_other() -> None:
    sources = [ROOT / "config", *(ROOT / each for each in ("knative_mig", "reconfigurer", "activator_hooks"))]
    files = [path for each in sources for path in each.rglob("*") if path.suffix in {".py", ".yaml"}]
    used = {name for path in files for name in names_in(path.read_text())}
    # The nodes of kind's cluster are told apart by a label of the tests' own.
    assert names_in(PAGE) == (used | {*KNOWN, CHOSEN}) - {"knative-mig.dev/pool"}


def test_each_of_those_names_that_is_no_annotation_of_a_function_has_its_row() -> None:
    told = [name for row in rows("| name | on |") for name in words(row[0])]
    assert sorted(told) == sorted(names_in(PAGE) - {*KNOWN, CHOSEN})


# -- events ------------------------------------------------------------------------------------------------------------


def structured() -> list[Event]:
    return [read([("content-type", STRUCTURED)], text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def binary() -> list[Event]:
    found = []
    for text in re.findall(r"```http\nPOST / HTTP/1\.1\n(.*?)```", PAGE, re.DOTALL):
        head, _, body = text.partition("\n\n")
        found.append(read([tuple(line.split(": ", 1)) for line in head.split("\n")], body))
    return found


def read(headers: Any, body: str) -> Event:
    event = decode(headers, body.encode())
    assert isinstance(event, Event), event
    return event


def test_every_event_has_an_example_in_both_modes_that_the_codec_takes_for_the_same() -> None:
    assert [each.type for each in structured()] == [PENDING, *OUTCOMES]
    assert structured() == binary()


def test_the_pending_example_is_what_the_source_sends_and_the_planner_hears() -> None:
    (event,) = [each for each in structured() if each.type == PENDING]
    assert event == pending_event(ask(), "2026-01-31T11:59:59+00:00")
    assert str(PendingRevision.of(event).profile) == "3g.20gb"


def ask(cause: Cause = Cause.NO_SLICE, why: str = "") -> Ask:
    demand = Demand(
        function=LLM,
        uid="3f0c1a52",
        generation=7,
        profile=ProfileName.parse("3g.20gb"),
        count=1,
        cause=cause,
        why=why,
        since=1769860799.0,
    )
    return Ask(demand=demand, attempt=0, seen_at=0.0)


def outcomes() -> Iterator[Outcome]:
    """One of each type, from what a leader would see."""
    watch = Watch()
    told = PendingRevision.of(pending_event(ask(), ""))
    pods = {("team", "a"): pod("a", "3g.20gb", revision="llm-00001", on="n1")}

    def see(slices: Mapping[str, str | None]) -> list[Outcome]:
        nodes: dict[NodeName, GpuNode] = {NodeName("n1"): gpu_node("n1", gpu("GPU-1", dict(slices)))}
        return watch.see(nodes, pods, lambda *name: pods.get(name), lambda _: "3f0c1a52")

    def take(refused: PodFacts, now: float) -> list[Outcome]:
        reason = Reason(Because.NO_FREE_PLACE, "all GPUs are busy")
        decision = Decision(refused=(Unplanned(pod=refused, reason=reason, helps=("x",)),))
        return watch.take(decision, lambda _: "3f0c1a52", lambda _: told, now)

    see({BIG: None})
    for now in (0.0, 3600.0):  # it is told of when it has stood for a while
        yield from take(pod("b", "3g.20gb", revision="llm-00001"), now)
    yield from see({BIG: "a"})
    spots = [Spot(node=NodeName(node), slice=SliceId.parse(at)) for node, at in PLACES]
    leg = Leg(function=LLM, revision_uid="3f0c1a52", old=PodRef(name="o", uid="o"), source=spots[0], target=spots[1])
    by = PodRef(name="b", uid="b")
    yield from watch.migrated(
        Move(beneficiary=by, function=Function("team", "big"), place=spots[0], legs=(leg,), began=0.0)
    )
    yield from see({BIG: None})


PLACES = [("n2", "GPU-2/3g.20gb/0"), ("n1", "GPU-1/3g.20gb/4")]
SOMETIMES = {"pendingid", "how", "reasons"}  # where a pending event or a plan is known


def test_the_examples_of_outcomes_have_what_the_planner_sends() -> None:
    made = {each.type: outcome_event(each, "") for each in outcomes()}
    assert made.keys() == set(OUTCOMES)
    for event in structured():
        if event.type == PENDING:
            continue
        assert event.extensions.keys() - SOMETIMES == made[event.type].extensions.keys() - SOMETIMES
        assert event.data.keys() - SOMETIMES == made[event.type].data.keys() - SOMETIMES
        shape = re.sub(r"[^/]+", "x", made[event.type].id)
        assert re.sub(r"[^/]+", "x", event.id) == shape
        assert event.source.rpartition("/")[0] == made[event.type].source.rpartition("/")[0]


def test_the_table_of_events_names_what_the_examples_have() -> None:
    table = {
        words(kind)[0]: (words(extensions), words(data)) for kind, extensions, data in rows("| type | extensions |")
    }
    assert [*table] == [PENDING, *OUTCOMES]
    for event in structured():
        extensions, data = table[event.type]
        assert extensions == [*event.extensions]
        assert set(event.data) <= set(data)
    assert pending_event(ask(Cause.QUOTA_EXCEEDED, "exceeded"), "").data.keys() == {"cause", "message"}


def test_what_is_said_of_an_event_is_said_under_its_name_and_of_fields_that_it_has() -> None:
    sections = dict(re.findall(r"\n### `(dev\.[^`]+)`\n\n(.*?)```", PAGE, re.DOTALL))
    assert [*sections] == [PENDING, *OUTCOMES]
    fields = {words(kind)[0]: words(data) for kind, _, data in rows("| type | extensions |")}
    for kind, text in sections.items():
        assert set(re.findall(r"`data\.([A-Za-z]+)`", text)) <= set(fields[kind])
    assert {word for word in words(sections[PENDING]) if word in {*Cause}} == {*Cause}


def statuses(text: str) -> set[int]:
    return {int(word) for word in words(text) if re.fullmatch(r"[1-5]\d\d", word)}


def test_what_sink_and_webhook_answer() -> None:
    _, _, webhooks = PAGE.partition("\n## AdmissionReviews\n")
    webhooks, _, _ = webhooks.partition("\n## ")
    too_long = {HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE}  # http.server's own
    both = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.SERVICE_UNAVAILABLE, *too_long}
    sinks = {status for row in rows("| the sink |") for status in statuses(row[0])}
    assert sinks == {HTTPStatus.ACCEPTED, *Why, *both}
    assert statuses(webhooks) == {*Why, *both, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
    assert [word for word in words(webhooks) if word.startswith("/")] == [*Webhook]
    assert f"`{WebhookSettings().names[1]}`" in webhooks
    assert f"`{PLANNER}`" in PAGE


def test_what_the_sink_takes() -> None:
    assert f"`{JSON}` (binary), `{STRUCTURED}` (structured)" in PAGE
    assert f"a body of {LARGEST // 1024} KiB, an attribute of {LONGEST} characters, data {DEEPEST} levels deep" in PAGE
    assert f"by `source` and `id`, for {DoorSettings().remember_s:.0f} s" in PAGE
    assert f"`count` a number from 1 to {MOST_AT_ONCE}," in PAGE


# -- GpuNode -----------------------------------------------------------------------------------------------------------


def fields(schema: Any, path: str = "") -> Iterator[str]:
    if schema.get("type") == "array":
        if "properties" in schema["items"]:
            yield from fields(schema["items"], f"{path}[]")
        else:
            yield path
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path


def test_every_field_of_a_gpu_node_has_its_row() -> None:
    (version,) = CRD["spec"]["versions"]
    every = set(fields(version["schema"]["openAPIV3Schema"])) - {"apiVersion", "kind", "metadata"}
    told = {f"{words(where)[0]}.{name}" for where, names, _ in rows("| object | fields |") for name in words(names)}
    assert told == every
    assert f"`{CRD['metadata']['name']}/{version['name']}`, short `{CRD['spec']['names']['shortNames'][0]}`" in PAGE


def test_how_much_a_spec_may_hold() -> None:
    (version,) = CRD["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    table = {words(where)[0]: what for where, _, what in rows("| object | fields |")}
    assert f"to {spec['fencingToken']['maximum']} at the most" in table["spec"]
    assert f"{spec['gpus']['maxItems']} at the most" in table["spec.gpus[]"]


def enums(schema: Any) -> Iterator[str]:
    for key, inner in schema.items():
        if key == "enum":
            yield from inner
        elif isinstance(inner, dict):
            yield from enums(inner)


def test_every_word_that_a_field_may_have_is_there() -> None:
    (version,) = CRD["spec"]["versions"]
    legal = set(enums(version["schema"]["openAPIV3Schema"])) - {"True", "False", "Unknown"}
    assert {word for word in legal if f"`{word}`" not in PAGE} == set()


def of_health(health: GpuHealth) -> tuple[GpuStatus, ...]:
    return (GpuStatus(uuid=GpuUuid("GPU-1"), product="", model="", health=health),)


WELL: dict[str, Any] = {
    "gpus": of_health(GpuHealth.HEALTHY),
    "unnamed": {},
    "layout": Layout.DYNAMIC,
    "spec_generation": 2,
    "observed_generation": 2,
    "doing": (),
    "settled": True,
    "complaints": (),
    "kubelet": True,
    "registered": True,
    "journal": JournalState.CLEAN,
    "journal_why": "",
    "other_owners": (),
    "adopts_layout": False,
    "processes_verified": True,
}
NOT_WELL: dict[str, list[Any]] = {
    "gpus": [(), *map(of_health, GpuHealth)],
    "unnamed": [{0: Unnamed(health=GpuHealth.LOST, why="lost")}, {0: Unnamed(health=GpuHealth.UNREADABLE, why="")}],
    "layout": [Layout.STATIC],
    "spec_generation": [None],
    "observed_generation": [1],
    "settled": [False],
    "kubelet": [False],
    "registered": [False, None],
    "journal": [*JournalState],
    "other_owners": [None, ("somebody",)],
    "adopts_layout": [True],
    "processes_verified": [False],
}


def reasons() -> dict[tuple[str, bool | None], set[str]]:
    """Of the agent's conditions, where any two things are not as they should be."""
    found: dict[tuple[str, bool | None], set[str]] = defaultdict(set)
    for one, other in combinations(NOT_WELL, 2):
        for a, b in product([WELL[one], *NOT_WELL[one]], [WELL[other], *NOT_WELL[other]]):
            for each in conditions(Standing(**{**WELL, one: a, other: b}), (), 0.0):
                found[each.type, each.status].add(each.reason)
    return found


def complaints() -> set[str]:
    agent = ROOT / "knative_mig" / "core" / "agent"
    sources = [(agent / each).read_text() for each in ("layout_change.py", "status.py")]
    written_out = {word for text in sources for word in re.findall(r'Complaint\(reason="([A-Za-z]+)"', text)}
    return written_out | {PLACE_BUSY}


def test_every_condition_has_its_row_with_every_reason_that_it_can_have_and_no_other() -> None:
    table = {words(kind)[0]: [set(words(cell)) for cell in cells] for kind, *cells in rows("| condition | True |")}
    assert table.keys() == {planned.TYPE, *ConditionType}
    assert table.pop(planned.TYPE) == [{planned.TYPE}, set(Outside), set()]
    code = reasons()
    code[ConditionType.SPEC_APPLIED, False] |= complaints()
    assert table == {kind: [code[kind, status] for status in (True, False, None)] for kind in ConditionType}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([a-z./-]+\.md(?:#[a-z-]+)?)\)", PAGE))))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / path).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z -]", "", each.lower()).replace(" ", "-") for each in headings}
    assert not anchor or anchor in anchors
