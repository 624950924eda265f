import re
from pathlib import Path

import pytest

from knative_mig.cli.plan_file import PlanInput, plan_input_of
from knative_mig.cli.yaml_input import read
from knative_mig.core.errors import BadInput, KnativeMigError
from knative_mig.core.inventory import Busy, Ending, Function, Idle, NodeName, Pending
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import MeasuredStarts
from knative_mig.core.profile import ProfileName

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(text: str) -> PlanInput:
    Path("f.yaml").write_text(text)
    return plan_input_of(read("f.yaml"))


def name(text: str) -> ProfileName:
    return ProfileName.parse(text)


def test_reads_the_example_that_its_page_shows() -> None:
    page = (DOCS / "plan-file.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    read_in = given(example)
    first, second, third, fourth = read_in.inventory.gpus
    assert [str(each.place) for each in first.slices] == ["1g.5gb@0", "1g.5gb@1", "2g.10gb@2", "3g.20gb@4"]
    assert [each.use for each in first.slices] == [
        Busy(Function("shop", "spell"), movable=True, move_s=6),
        Ending(Function("shop", "tags"), free_at=12),
        Idle(0.6),
        Busy(Function("shop", "search")),
    ]
    assert (first.static, second.static) == (False, True)
    assert [(third.uuid, third.node), (fourth.uuid, fourth.node)] == [("GPU-c-0", "node-3"), ("GPU-c-1", "node-3")]
    assert read_in.pendings == (
        Pending(function=Function("shop", "chat"), profile=name("3g.20gb"), count=2, since=-3),
        Pending(
            function=Function("lab", "eval"),
            profile=name("7g.80gb"),
            priority=10,
            since=-150,
            nodes=frozenset({NodeName("node-3")}),
        ),
    )
    assert read_in.inventory.quotas == {"lab": {name("7g.80gb"): 1}}
    assert read_in.policy == Policy(max_moves=1, demand={name("3g.20gb"): 0.5, name("1g.5gb"): 0.5})
    assert read_in.startup == MeasuredStarts(
        usual_s={Function("shop", "chat"): 11}, on_node={Function("shop", "chat"): {NodeName("node-1"): 4}}
    )


def test_the_page_names_every_key_and_the_policy_s_defaults() -> None:
    page = (DOCS / "plan-file.md").read_text()
    usual = Policy()
    for key in ("max_moves", "starving_after_s", "wait_at_most_s", "reserve_whole"):
        [row] = re.findall(rf"^\| `policy\.{key}` .*$", page, re.MULTILINE)
        assert row.endswith(f"| {getattr(usual, key):g} |")


@pytest.mark.parametrize("example", sorted((DOCS / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_reads_every_example(example: Path) -> None:
    assert plan_input_of(read(str(example))).pendings


def test_nothing_pending_and_no_gpus_are_legal() -> None:
    read_in = given("gpus: []\npendings: []")
    assert (read_in.inventory.gpus, read_in.pendings, read_in.policy) == ((), (), Policy())


GPU = "uuid: GPU-a, node: n-1, model: A100-40GB"
PENDING = "function: shop/chat, profile: 3g.20gb"


def gpu(more: str) -> str:
    return f"pendings: []\ngpus:\n- {{{GPU}, {more}}}"


def piece(more: str) -> str:
    return f"pendings: []\ngpus:\n- {{{GPU}, slices: [{{{more}}}]}}"


def pending(more: str) -> str:
    return f"gpus: [{{{GPU}}}]\npendings:\n- {{{more}}}"


def also(more: str) -> str:
    return f"gpus: [{{{GPU}}}]\npendings: []\n{more}"


SLICE = "f.yaml:3: gpus[0].slices[0]"
ASKED = "f.yaml:3: pendings[0]"
A100 = "1g.5gb, 1g.5gb+me, 1g.10gb, 2g.10gb, 3g.20gb, 4g.20gb, 7g.40gb"
PROFILE_FORM = "a profile is written like 3g.20gb, 1g.5gb+me, 1g.24gb+me.all, 1g.24gb+gfx or 1g.24gb-me"
YEAR = "a number from 0 to 3.1536e+07"
MODELS = (
    "A30-24GB, A100-40GB, A100-80GB, H100-80GB, H100-94GB, H100-96GB-GH200, GH200-144GB, H200-141GB, B200-180GB, "
    "GB200-186GB, GB200-189GB, B300-269GB, GB300-278GB, RTX-PRO-6000-BLACKWELL-96GB"
)

BAD = {
    # the document
    "a-list": ("- a", "f.yaml:1: is a list, legal is a mapping (key: value)"),
    "a-word": ("gpus", "f.yaml:1: is 'gpus', legal is a mapping (key: value)"),
    "no-gpus": ("pendings: []", "f.yaml:1: gpus is missing: it needs gpus, pendings"),
    "no-pendings": ("gpus: []", "f.yaml:1: pendings is missing: it needs gpus, pendings"),
    "unknown-key": (
        "gpu: []\npendings: []",
        "f.yaml:1: gpu: is no key that is known here: legal are gpus, pendings, quotas, policy, startup",
    ),
    "gpus-a-mapping": ("gpus: {}\npendings: []", "f.yaml:1: gpus: is a mapping, legal is a list"),
    "pendings-empty": ("gpus: []\npendings:", "f.yaml:2: pendings: is empty, legal is a list"),
    # gpus
    "gpu-a-word": ("pendings: []\ngpus: [GPU-a]", "f.yaml:2: gpus[0]: is 'GPU-a', legal is a mapping (key: value)"),
    "gpu-unknown-key": (
        gpu("name: x"),
        "f.yaml:3: gpus[0].name: is no key that is known here: legal are uuid, node, model, layout, slices, count",
    ),
    "gpu-without-uuid": (
        "pendings: []\ngpus: [{node: n, model: A30-24GB}]",
        "f.yaml:2: gpus[0]: uuid is missing: it needs uuid, node, model",
    ),
    "gpu-without-model": (
        "pendings: []\ngpus: [{uuid: a, node: n}]",
        "f.yaml:2: gpus[0]: model is missing: it needs uuid, node, model",
    ),
    "uuid-a-number": (
        "pendings: []\ngpus: [{uuid: 1, node: n, model: A30-24GB}]",
        "f.yaml:2: gpus[0].uuid: is 1, legal is letters, digits, '.', '_' and '-', at most 63 (in quotes)",
    ),
    "uuid-with-a-space": (
        "pendings: []\ngpus: [{uuid: a b, node: n, model: A30-24GB}]",
        "f.yaml:2: gpus[0].uuid: is 'a b', legal is letters, digits, '.', '_' and '-', at most 63",
    ),
    "uuid-twice": (
        f"pendings: []\ngpus: [{{{GPU}}}, {{{GPU}}}]",
        "f.yaml:2: gpus[1]: uuid GPU-a is the name of gpus[0] already: legal is one of its own",
    ),
    "uuid-twice-by-count": (
        f"pendings: []\ngpus: [{{{GPU}, count: 2}}, {{uuid: GPU-a-1, node: n, model: A30-24GB}}]",
        "f.yaml:2: gpus[1]: uuid GPU-a-1 is the name of gpus[0] already: legal is one of its own",
    ),
    "node-in-capitals": (
        "pendings: []\ngpus: [{uuid: a, node: N1, model: A30-24GB}]",
        "f.yaml:2: gpus[0].node: is 'N1', legal is a node's name, in lower case",
    ),
    "unknown-model": (
        "pendings: []\ngpus: [{uuid: a, node: n, model: V100}]",
        f"f.yaml:2: gpus[0].model: 'V100' is not a known GPU model: known are {MODELS}",
    ),
    "unknown-layout": (gpu("layout: fixed"), "f.yaml:3: gpus[0].layout: is 'fixed', legal is dynamic or static"),
    "count-zero": (gpu("count: 0"), "f.yaml:3: gpus[0].count: is 0, legal is a whole number from 1 to 100000"),
    "count-true": (gpu("count: true"), "f.yaml:3: gpus[0].count: is true, legal is a whole number from 1 to 100000"),
    "count-huge": (
        gpu(f"count: {2**70}"),
        "f.yaml:3: gpus[0].count: is 1.18059e+21, legal is a whole number from 1 to 100000",
    ),
    "too-many-gpus-together": (
        f"pendings: []\ngpus: [{{{GPU}, count: 99999}}, {{uuid: b, node: n, model: A30-24GB, count: 2}}]",
        "f.yaml:2: gpus[1]: makes 100001 GPUs, legal are at most 100000",
    ),
    # slices
    "slice-unknown-key": (
        piece("profile: 3g.20gb, start: 0, size: 4, idle: {}"),
        SLICE + ".size: is no key that is known here: "
        "legal are profile, start, function, movable, move_s, nodes, free_in_s, idle",
    ),
    "slice-without-start": (
        piece("profile: 3g.20gb, idle: {}"),
        SLICE + ": start is missing: it needs profile, start",
    ),
    "unknown-profile": (
        piece("profile: 5g.20gb, start: 0, idle: {}"),
        f"{SLICE}.profile: 5g.20gb is not a profile of A100-40GB: it has {A100}",
    ),
    "profile-of-another-model": (
        piece("profile: 3g.40gb, start: 0, idle: {}"),
        f"{SLICE}.profile: 3g.40gb is not a profile of A100-40GB: it has {A100}",
    ),
    "profile-without-unit": (
        piece("profile: 3g.20, start: 0, idle: {}"),
        f"{SLICE}.profile: '3g.20' is not a MIG profile: {PROFILE_FORM}",
    ),
    "profile-in-gib": (
        piece("profile: 3g.20gib, start: 0, idle: {}"),
        f"{SLICE}.profile: '3g.20gib' is not a MIG profile: {PROFILE_FORM}",
    ),
    "profile-a-number": (piece("profile: 3, start: 0, idle: {}"), SLICE + ".profile: is 3, legal is text (in quotes)"),
    "resource-of-another-kind": (
        piece("profile: nvidia.com/gpu, start: 0, idle: {}"),
        f"{SLICE}.profile: 'nvidia.com/gpu' is not a MIG profile: {PROFILE_FORM}",
    ),
    "start-not-legal": (
        piece("profile: 3g.20gb, start: 3, idle: {}"),
        SLICE + ".start: 3g.20gb cannot start at 3 on A100-40GB: legal starts are 0, 4",
    ),
    "start-beyond": (
        piece("profile: 3g.20gb, start: 8, idle: {}"),
        SLICE + ".start: is 8, legal is a whole number from 0 to 7",
    ),
    "start-negative": (
        piece("profile: 3g.20gb, start: -1, idle: {}"),
        SLICE + ".start: is -1, legal is a whole number from 0 to 7",
    ),
    "start-true": (
        piece("profile: 3g.20gb, start: true, idle: {}"),
        SLICE + ".start: is true, legal is a whole number from 0 to 7",
    ),
    "start-half": (
        piece("profile: 3g.20gb, start: 0.5, idle: {}"),
        SLICE + ".start: is 0.5, legal is a whole number from 0 to 7",
    ),
    "two-at-one-place": (
        piece("profile: 1g.5gb, start: 0, idle: {}}, {profile: 1g.5gb, start: 0, idle: {}"),
        "f.yaml:3: gpus[0].slices[1]: 1g.5gb@0 overlaps gpus[0].slices[0], 1g.5gb@0: legal are places side by side",
    ),
    "overlap": (
        piece("profile: 1g.5gb, start: 0, idle: {}}, {profile: 1g.5gb, start: 2, idle: {}}, "
              "{profile: 2g.10gb, start: 2, function: a/b"),
        "f.yaml:3: gpus[0].slices[2]: 2g.10gb@2 overlaps gpus[0].slices[1], 1g.5gb@2: legal are places side by side",
    ),
    "two-media-extensions": (
        piece("profile: 1g.5gb+me, start: 0, idle: {}}, {profile: 1g.5gb+me, start: 1, idle: {}"),
        ("f.yaml:3: gpus[0].slices[1]: 1g.5gb+me@1 overlaps gpus[0].slices[0], 1g.5gb+me@0: "
        "legal are places side by side"),
    ),
    "busy-and-idle": (
        piece("profile: 1g.5gb, start: 0, idle: {}, function: a/b"),
        SLICE + ": is busy or idle: legal is one of function and idle",
    ),
    "neither-busy-nor-idle": (
        piece("profile: 1g.5gb, start: 0"),
        SLICE + ": is busy or idle: legal is one of function and idle",
    ),
    "idle-true": (
        piece("profile: 1g.5gb, start: 0, idle: true"),
        SLICE + ".idle: is true, legal is a mapping (key: value)",
    ),
    "idle-movable": (
        piece("profile: 1g.5gb, start: 0, idle: {}, movable: true"),
        SLICE + ".movable: says nothing beside idle: leave it out",
    ),
    "idle-worth-negative": (
        piece("profile: 1g.5gb, start: 0, idle: {worth_s: -1}"),
        f"{SLICE}.idle.worth_s: is -1, legal is {YEAR}",
    ),
    "idle-worth-nan": (
        piece("profile: 1g.5gb, start: 0, idle: {worth_s: .nan}"),
        f"{SLICE}.idle.worth_s: is nan, legal is {YEAR}",
    ),
    "idle-worth-twice": (
        piece("profile: 1g.5gb, start: 0, idle: {worth_s: 1, likelihood: 0.5}"),
        SLICE + ".idle.likelihood: says nothing beside worth_s: leave it out",
    ),
    "idle-half-a-worth": (
        piece("profile: 1g.5gb, start: 0, idle: {likelihood: 0.5}"),
        SLICE + ".idle: says half of its worth: legal is worth_s, or next_start_s with likelihood, or {}",
    ),
    "idle-likelihood-above-one": (
        piece("profile: 1g.5gb, start: 0, idle: {next_start_s: 1, likelihood: 30}"),
        SLICE + ".idle.likelihood: is 30, legal is a number from 0 to 1",
    ),
    "movable-text": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: 'true'"),
        SLICE + ".movable: is 'true', legal is true or false",
    ),
    "movable-without-its-cost": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: true"),
        SLICE + ": move_s is missing: a movable function needs the seconds of a start elsewhere and a drain here",
    ),
    "cost-of-what-cannot-move": (
        piece("profile: 1g.5gb, start: 0, function: a/b, move_s: 3"),
        SLICE + ".move_s: says nothing beside a function that is not movable: leave it out",
    ),
    "cost-infinite": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: true, move_s: .inf"),
        f"{SLICE}.move_s: is inf, legal is {YEAR}",
    ),
    "cost-absurd": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: true, move_s: 1e308"),
        f"{SLICE}.move_s: is 1e+308, legal is {YEAR}",
    ),
    "cost-with-a-unit": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: true, move_s: 12s"),
        f"{SLICE}.move_s: is '12s', legal is {YEAR}",
    ),
    "moves-to-an-unknown-node": (
        piece("profile: 1g.5gb, start: 0, function: a/b, movable: true, move_s: 1, nodes: [n-2]"),
        SLICE + ".nodes[0]: is 'n-2', legal is n-1",
    ),
    "ending-and-movable": (
        piece("profile: 1g.5gb, start: 0, function: a/b, free_in_s: 3, movable: true"),
        SLICE + ".movable: says nothing beside free_in_s: leave it out",
    ),
    "ending-in-the-past": (
        piece("profile: 1g.5gb, start: 0, function: a/b, free_in_s: -3"),
        f"{SLICE}.free_in_s: is -3, legal is {YEAR}",
    ),
    "function-without-namespace": (
        piece("profile: 1g.5gb, start: 0, function: chat"),
        SLICE + ".function: is 'chat', legal is a function as namespace/name, in lower case",
    ),
    # pendings
    "pending-unknown-key": (
        pending(PENDING + ", gpu: 1"),
        ASKED + ".gpu: is no key that is known here: legal are function, profile, count, priority, waiting_s, nodes",
    ),
    "pending-without-function": (
        pending("profile: 3g.20gb"),
        ASKED + ": function is missing: it needs function, profile",
    ),
    "pending-in-capitals": (
        pending("function: shop/Chat, profile: 3g.20gb"),
        ASKED + ".function: is 'shop/Chat', legal is a function as namespace/name, in lower case",
    ),
    "pending-profile-nobody-has": (
        pending("function: a/b, profile: 5g.20gb"),
        ASKED + ".profile: 5g.20gb is a profile of no known GPU model: `knative-mig profiles MODEL` lists them",
    ),
    "pending-resource-nobody-has": (
        pending("function: a/b, profile: nvidia.com/mig-3g.20gb.big"),
        ASKED + ".profile: 'nvidia.com/mig-3g.20gb.big' is not a MIG resource: "
        "'.big' is none of ['', '-me', '.gfx', '.me', '.me.all']",
    ),
    "pending-count-zero": (
        pending(PENDING + ", count: 0"),
        ASKED + ".count: is 0, legal is a whole number from 1 to 100000",
    ),
    "pending-count-text": (
        pending(PENDING + ", count: two"),
        ASKED + ".count: is 'two', legal is a whole number from 1 to 100000",
    ),
    "pending-priority-half": (
        pending(PENDING + ", priority: 0.5"),
        ASKED + ".priority: is 0.5, legal is a whole number from -1000000000 to 1000000000",
    ),
    "pending-priority-huge": (
        pending(PENDING + f", priority: {2**70}"),
        ASKED + ".priority: is 1.18059e+21, legal is a whole number from -1000000000 to 1000000000",
    ),
    "pending-waits-since-the-future": (
        pending(PENDING + ", waiting_s: -1"),
        f"{ASKED}.waiting_s: is -1, legal is {YEAR}",
    ),
    "pending-unknown-node": (
        pending(PENDING + ", nodes: [n-1, n-9]"),
        ASKED + ".nodes[1]: is 'n-9', legal is n-1",
    ),
    "pending-nodes-a-word": (pending(PENDING + ", nodes: n-1"), ASKED + ".nodes: is 'n-1', legal is a list"),
    # quotas, policy, startup
    "quota-negative": (
        also("quotas: {shop: {3g.20gb: -1}}"),
        "f.yaml:3: quotas.shop['3g.20gb']: is -1, legal is a whole number from 0 to 100000",
    ),
    "quota-of-no-namespace": (
        also("quotas: {Shop: {}}"),
        "f.yaml:3: quotas.Shop: 'Shop' is no namespace: legal is a name in lower case",
    ),
    "quota-of-no-profile": (
        also("quotas: {shop: {gpus: 1}}"),
        f"f.yaml:3: quotas.shop.gpus: 'gpus' is not a MIG profile: {PROFILE_FORM}",
    ),
    "quota-of-a-profile-nobody-has": (
        also("quotas: {shop: {9g.9gb: 1}}"),
        ("f.yaml:3: quotas.shop['9g.9gb']: 9g.9gb is a profile of no known GPU model: "
        "`knative-mig profiles MODEL` lists them"),
    ),
    "quota-twice-by-resource-name": (
        also("quotas: {shop: {3g.20gb: 1, nvidia.com/mig-3g.20gb: 2}}"),
        "f.yaml:3: quotas.shop['nvidia.com/mig-3g.20gb']: 3g.20gb stands twice: first as quotas.shop['3g.20gb']",
    ),
    "policy-unknown-key": (
        also("policy: {moves: 1}"),
        ("f.yaml:3: policy.moves: is no key that is known here: "
        "legal are max_moves, starving_after_s, wait_at_most_s, reserve_whole, demand"),
    ),
    "policy-too-many-moves": (
        also("policy: {max_moves: 3}"),
        "f.yaml:3: policy.max_moves: is 3, legal is a whole number from 0 to 2",
    ),
    "policy-wait-negative": (
        also("policy: {wait_at_most_s: -1}"),
        f"f.yaml:3: policy.wait_at_most_s: is -1, legal is {YEAR}",
    ),
    "policy-starving-at-once": (
        also("policy: {starving_after_s: 0}"),
        "f.yaml:3: policy.starving_after_s: is 0, legal is a number from 1 to 3.1536e+07",
    ),
    "policy-reserve-half": (
        also("policy: {reserve_whole: 0.5}"),
        "f.yaml:3: policy.reserve_whole: is 0.5, legal is a whole number from 0 to 100000",
    ),
    "policy-demand-in-percent": (
        also("policy: {demand: {3g.20gb: 20}}"),
        "f.yaml:3: policy.demand['3g.20gb']: is 20, legal is a number from 0 to 1",
    ),
    "startup-of-no-function": (
        also("startup: {chat: {usual_s: 3}}"),
        "f.yaml:3: startup.chat: 'chat' is no function: legal is a function as namespace/name, in lower case",
    ),
    "startup-without-what-is-usual": (
        also("startup: {shop/chat: {}}"),
        "f.yaml:3: startup['shop/chat']: usual_s is missing: it needs usual_s",
    ),
    "startup-on-an-unknown-node": (
        also("startup: {shop/chat: {usual_s: 3, on_node_s: {n-2: 3}}}"),
        "f.yaml:3: startup['shop/chat'].on_node_s.n-2: is no key that is known here: legal are n-1",
    ),
    "startup-a-word": (
        also("startup: {shop/chat: {usual_s: 3, on_node_s: {n-1: soon}}}"),
        f"f.yaml:3: startup['shop/chat'].on_node_s.n-1: is 'soon', legal is {YEAR}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_told_with_its_place_and_what_is_legal(text: str, line: str) -> None:
    with pytest.raises(KnativeMigError) as bad:
        given(text)
    assert isinstance(bad.value, BadInput)
    assert str(bad.value) == line
