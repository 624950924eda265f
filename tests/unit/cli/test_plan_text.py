import json

import pytest

from knative_mig.cli.plan_data import data_of
from knative_mig.cli.plan_text import text_of
from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, Inventory, NodeName, Pending, Slice
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.decisions import (
    Because,
    Bound,
    How,
    Plan,
    Reason,
    Rejection,
    Relocation,
    Step,
    Target,
)
from knative_mig.core.profile import ProfileName

A100 = gpu_model("A100-40GB")
GPU_A, GPU_B = GpuUuid("GPU-a"), GpuUuid("GPU-b")
NODE = NodeName("node-1")
CHAT, SEARCH, SPELL = Function("shop", "chat"), Function("shop", "search"), Function("shop", "spell")


def at(text: str) -> Place:
    profile, _, start = text.partition("@")
    return A100.place(A100.profile(ProfileName.parse(profile)), int(start))


INVENTORY = Inventory(
    gpus=(
        Gpu(
            uuid=GPU_A,
            node=NODE,
            model=A100,
            slices=(
                Slice(at("2g.10gb@0"), Idle(0.5)),
                Slice(at("1g.5gb@2"), Idle()),
                Slice(at("3g.20gb@4"), Busy(SEARCH)),
            ),
        ),
        Gpu(
            uuid=GPU_B,
            node=NODE,
            model=A100,
            slices=(
                Slice(at("1g.5gb@0"), Busy(SPELL, movable=True, move_s=6)),
                Slice(at("2g.10gb@4"), Ending(SEARCH, 12)),
                Slice(at("1g.5gb@6"), Idle()),
            ),
        ),
        Gpu(uuid=GpuUuid("GPU-c"), node=NodeName("node-2"), model=A100),
    )
)
BIG = Pending(function=CHAT, profile=ProfileName.parse("7g.40gb"), count=3)


def step(
    how: How,
    place: Place,
    gpu: GpuUuid = GPU_A,
    *,
    reuses: bool = False,
    destroys: tuple[Place, ...] = (),
    awaits: tuple[Place, ...] = (),
    relocations: tuple[Relocation, ...] = (),
    until: float | None = None,
    reasons: tuple[Reason, ...] = (),
) -> Step:
    return Step(
        how=how,
        function=CHAT,
        profile=place.profile.name,
        target=Target(gpu=gpu, node=NODE, place=place, reuses=reuses, destroys=destroys, awaits=awaits),
        relocations=relocations,
        until=until,
        reasons=reasons,
    )


MERGE = step(
    How.MERGE,
    at("3g.20gb@0"),
    destroys=(at("2g.10gb@0"), at("1g.5gb@2")),
    reasons=(Reason(Because.CHEAPEST_MERGE, "destroys 0.5 s of worth, the next best 0.9 s"),),
)
MOVE = step(
    How.MOVE,
    at("3g.20gb@0"),
    GPU_B,
    relocations=(
        Relocation(
            function=SPELL,
            source=at("1g.5gb@0"),
            source_gpu=GPU_B,
            target=Target(gpu=GPU_A, node=NODE, place=at("1g.5gb@2"), reuses=True),
            seconds=6,
        ),
    ),
)
WAIT = step(How.WAIT, at("3g.20gb@4"), GPU_B, destroys=(at("1g.5gb@6"),), awaits=(at("2g.10gb@4"),), until=12.0)
REUSE = step(How.REUSE, at("2g.10gb@0"), reuses=True)


def plan(*steps: Step, rejections: tuple[Rejection, ...] = (), reasons: tuple[Reason, ...] = ()) -> Plan:
    return Plan(steps=steps, rejections=rejections, reasons=reasons, bound=Bound(served=3 * len(steps), at_most=7))


REJECTION = Rejection(
    pending=BIG,
    count=3,
    reason=Reason(Because.NO_FREE_PLACE, "every 7g.40gb place is busy on 2 of 3 GPUs"),
    helps=("a GPU more", "shop/search scaled to zero"),
)

LEGEND = """
# busy   ~ busy, movable   - idle   > ending   + made or taken by this plan   blank: free
"""

TEXTS = {
    "merge": (
        plan(MERGE),
        """\
GPU-a, A100-40GB on node-1
  before  |2g-----------|1g----|      |3g#########################|
  after   |3g+++++++++++++++++++++++++|3g#########################|

1. merge: shop/chat gets 3g.20gb@0 of GPU-a on node-1
    destroys idle 2g.10gb@0, 1g.5gb@2

1 of 1 slices granted
"""
        + LEGEND,
    ),
    "move": (
        plan(MOVE),
        """\
GPU-a, A100-40GB on node-1
  before  |2g-----------|1g----|      |3g#########################|
  after   |2g-----------|1g++++|      |3g#########################|

GPU-b, A100-40GB on node-1
  before  |1g~~~~|      |      |      |2g>>>>>>>>>>>|1g----|      |
  after   |3g+++++++++++++++++++++++++|2g>>>>>>>>>>>|1g----|      |

1. move: shop/chat gets 3g.20gb@0 of GPU-b on node-1
    first shop/spell moves from 1g.5gb@0 of GPU-b to the idle 1g.5gb@2 of GPU-a on node-1 (about 6 s)

1 of 1 slices granted
"""
        + LEGEND,
    ),
    "wait-and-reuse": (
        plan(WAIT, REUSE),
        """\
GPU-a, A100-40GB on node-1
  before  |2g-----------|1g----|      |3g#########################|
  after   |2g+++++++++++|1g----|      |3g#########################|

GPU-b, A100-40GB on node-1
  before  |1g~~~~|      |      |      |2g>>>>>>>>>>>|1g----|      |
  after   |1g~~~~|      |      |      |3g+++++++++++++++++++++++++|

1. wait: shop/chat gets 3g.20gb@4 of GPU-b on node-1
    in 12 s, when the pods on 2g.10gb@4 are gone
    destroys idle 1g.5gb@6
2. reuse: shop/chat gets 2g.10gb@0 of GPU-a on node-1

2 of 2 slices granted
"""
        + LEGEND,
    ),
    "rejected": (
        plan(rejections=(REJECTION,)),
        """\
rejected: 3 x 7g.40gb for shop/chat
    NoFreePlace: every 7g.40gb place is busy on 2 of 3 GPUs
    would help: a GPU more
    would help: shop/search scaled to zero

0 of 3 slices granted
""",
    ),
    "nothing": (plan(), "nothing is pending\n"),
}


@pytest.mark.parametrize(("made", "text"), TEXTS.values(), ids=TEXTS.keys())
def test_prints(made: Plan, text: str) -> None:
    assert text_of(INVENTORY, made, explain=False, colour=False) + "\n" == text


def test_explain_adds_every_reason_and_the_bound() -> None:
    made = plan(MERGE, rejections=(REJECTION,), reasons=(Reason(Because.KEEPS_FLEXIBILITY, "2 of 3 ties"),))
    plain = text_of(INVENTORY, made, explain=False, colour=False).splitlines()
    explained = text_of(INVENTORY, made, explain=True, colour=False).splitlines()
    assert [line for line in explained if line not in plain] == [
        "    CheapestMerge: destroys 0.5 s of worth, the next best 0.9 s",
        "the plan as a whole",
        "    KeepsFlexibility: 2 of 3 ties",
        "    it serves 3 compute slices; no plan serves more than 7 (gap 57.1 %)",
    ]


def test_data_holds_the_whole_plan() -> None:
    made = plan(MERGE, MOVE, WAIT, rejections=(REJECTION,), reasons=(Reason(Because.KEEPS_FLEXIBILITY, "ties"),))
    merge, move, wait = (
        {
            "how": "merge",
            "function": "shop/chat",
            "profile": "3g.20gb",
            "target": {
                "gpu": "GPU-a",
                "node": "node-1",
                "profile": "3g.20gb",
                "start": 0,
                "reuses": False,
                "destroys": [{"profile": "2g.10gb", "start": 0}, {"profile": "1g.5gb", "start": 2}],
                "awaits": [],
            },
            "relocations": [],
            "until_s": None,
            "reasons": [{"code": "CheapestMerge", "text": "destroys 0.5 s of worth, the next best 0.9 s"}],
        },
        {
            "how": "move",
            "function": "shop/chat",
            "profile": "3g.20gb",
            "target": {
                "gpu": "GPU-b",
                "node": "node-1",
                "profile": "3g.20gb",
                "start": 0,
                "reuses": False,
                "destroys": [],
                "awaits": [],
            },
            "relocations": [
                {
                    "function": "shop/spell",
                    "source": {"gpu": "GPU-b", "profile": "1g.5gb", "start": 0},
                    "target": {
                        "gpu": "GPU-a",
                        "node": "node-1",
                        "profile": "1g.5gb",
                        "start": 2,
                        "reuses": True,
                        "destroys": [],
                        "awaits": [],
                    },
                    "seconds": 6,
                }
            ],
            "until_s": None,
            "reasons": [],
        },
        {
            "how": "wait",
            "function": "shop/chat",
            "profile": "3g.20gb",
            "target": {
                "gpu": "GPU-b",
                "node": "node-1",
                "profile": "3g.20gb",
                "start": 4,
                "reuses": False,
                "destroys": [{"profile": "1g.5gb", "start": 6}],
                "awaits": [{"profile": "2g.10gb", "start": 4}],
            },
            "relocations": [],
            "until_s": 12.0,
            "reasons": [],
        },
    )
    data = data_of(made)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data == {
        "steps": [merge, move, wait],
        "rejections": [
            {
                "function": "shop/chat",
                "profile": "7g.40gb",
                "count": 3,
                "reason": {"code": "NoFreePlace", "text": "every 7g.40gb place is busy on 2 of 3 GPUs"},
                "helps": ["a GPU more", "shop/search scaled to zero"],
            }
        ],
        "reasons": [{"code": "KeepsFlexibility", "text": "ties"}],
        "bound": {"served": 9, "at_most": 7, "gap": 0.0},
    }
