"""What is left of a change that was cut short, for each thing that the GPU may show."""

from dataclasses import replace

import pytest

from knative_mig.core.agent.readings import GpuReading, SeenSlice
from knative_mig.core.agent.recovery import Begun, Judgement, OpenIntent, Remedy, judge
from knative_mig.core.gpu_node import GpuHealth, SliceKey, WantedGpu, WantedSlice
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

MODEL = gpu_model("A100-40GB")
A = GpuUuid("GPU-a")
HALF = SliceKey(profile=ProfileName.parse("3g.20gb"), start=4)
WANTED = WantedGpu(uuid=A, slices=(WantedSlice(profile=HALF.profile, start=4, size=4),))
UNWANTED = WantedGpu(uuid=A)


def gpu(mig_uuid: str | None = None, *, there: bool = True) -> GpuReading:
    place = MODEL.place(MODEL.profile(HALF.profile), HALF.start)
    seen = SeenSlice(place=place, gi_id=2, ci_id=0 if mig_uuid else None, mig_uuid=mig_uuid, pids=())
    return GpuReading(uuid=A, read_at=0.0, model=MODEL, slices=(seen,) if there else ())


def intent(begun: Begun, number: int = 7, boot_id: str = "boot-1", key: SliceKey = HALF) -> OpenIntent:
    mig_uuid = "MIG-old" if begun is Begun.DESTROY else None
    return OpenIntent(number=number, begun=begun, gpu=A, key=key, boot_id=boot_id, mig_uuid=mig_uuid)


def judged(begun: Begun, reading: GpuReading, wanted: WantedGpu | None, boot_id: str = "boot-1") -> Judgement:
    (one,) = judge([intent(begun)], reading, wanted, boot_id)
    assert one.number == 7
    return one


NOTHING, HALF_MADE, OLD, NEW = gpu(there=False), gpu(None), gpu("MIG-old"), gpu("MIG-new")


@pytest.mark.parametrize(
    ("begun", "reading", "wanted", "remedy", "why"),
    [
        (Begun.CREATE, NOTHING, WANTED, Remedy.CLOSE, "it was never made"),
        (Begun.CREATE, HALF_MADE, WANTED, Remedy.FINISH, "is wanted"),
        (Begun.CREATE, HALF_MADE, UNWANTED, Remedy.REMOVE, "is not wanted"),
        (Begun.CREATE, HALF_MADE, None, Remedy.FINISH, "is wanted"),
        (Begun.CREATE, NEW, WANTED, Remedy.CLOSE, "it was made whole, and is adopted"),
        (Begun.CREATE, NEW, UNWANTED, Remedy.CLOSE, "it was made whole, and is adopted"),
        (Begun.DESTROY, NOTHING, UNWANTED, Remedy.CLOSE, "it has been destroyed"),
        (Begun.DESTROY, HALF_MADE, UNWANTED, Remedy.REMOVE, "is not wanted"),
        (Begun.DESTROY, HALF_MADE, WANTED, Remedy.REMOVE, "it has no compute instance"),
        (Begun.DESTROY, OLD, UNWANTED, Remedy.CLOSE, "whether it may be is asked anew"),
        (Begun.DESTROY, NEW, UNWANTED, Remedy.CLOSE, "another has been made at its place"),
    ],
    ids=[
        "create-nothing",
        "create-half-wanted",
        "create-half-unwanted",
        "create-half-spec-unknown",
        "create-whole-wanted",
        "create-whole-unwanted",
        "destroy-gone",
        "destroy-half",
        "destroy-half-wanted-again",
        "destroy-not-begun",
        "destroy-successor",
    ],
)
def test_an_intent_is_judged_by_what_the_gpu_shows(
    begun: Begun, reading: GpuReading, wanted: WantedGpu | None, remedy: Remedy, why: str
) -> None:
    judgement = judged(begun, reading, wanted)
    assert judgement.remedy is remedy
    assert judgement.why.startswith("GPU-a/3g.20gb/4: ")
    assert why in judgement.why
    assert (judgement.seen is not None) is (remedy in (Remedy.FINISH, Remedy.REMOVE))


@pytest.mark.parametrize("reading", [NOTHING, HALF_MADE, NEW], ids=["nothing", "half", "whole"])
@pytest.mark.parametrize("begun", list(Begun))
def test_an_intent_of_another_boot_says_nothing_about_what_is_there_now(begun: Begun, reading: GpuReading) -> None:
    judgement = judged(begun, reading, WANTED, boot_id="boot-2")
    assert judgement.remedy is Remedy.CLOSE
    assert judgement.seen is None


@pytest.mark.parametrize("health", [GpuHealth.LOST, GpuHealth.MODE_PENDING, GpuHealth.UNREADABLE])
def test_nothing_is_judged_by_a_gpu_that_cannot_be_trusted(health: GpuHealth) -> None:
    assert judged(Begun.CREATE, replace(HALF_MADE, health=health), WANTED).remedy is Remedy.KEEP_OPEN


def test_of_several_changes_of_one_place_the_newest_counts() -> None:
    begun = [intent(Begun.CREATE, 9), intent(Begun.DESTROY, 8), intent(Begun.CREATE, 5)]
    found = judge(begun, HALF_MADE, WANTED, "boot-1")
    assert [(each.number, each.remedy) for each in found] == [
        (5, Remedy.CLOSE),
        (8, Remedy.CLOSE),
        (9, Remedy.FINISH),
    ]


def test_other_gpus_intents_are_not_judged_here() -> None:
    assert judge([replace(intent(Begun.CREATE), gpu=GpuUuid("GPU-b"))], HALF_MADE, WANTED, "boot-1") == ()
