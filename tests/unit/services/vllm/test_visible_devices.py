"""Which GPUs the engine is shown, for what a container's environment may say."""

import pytest

from services.vllm.failures import Ending, NotStarted
from services.vllm.visible_devices import environment

ONE, OTHER = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-4c60d78c-506f-5593-938d-a136eaa1fa52"
WHOLE = "GPU-7f57f032-34ab-a064-c37c-7a4f75601cc5"


@pytest.mark.parametrize(
    ("cuda", "nvidia", "shown"),
    [
        (None, ONE, None),
        (ONE, ONE, None),
        (ONE.upper(), ONE, None),
        ("0", ONE, "0"),
        (ONE, None, ONE),
        (ONE, "all", ONE),
        (None, None, None),
        ("3", "all", "3"),
        (WHOLE, WHOLE, WHOLE),
        ("0,1", "all", "0,1"),
    ],
    ids=[
        "as the agent hands it out",
        "the slice by its UUID, which vLLM stumbles over",
        "the same UUID in capitals",
        "the only device there is",
        "by hand, with nothing to go by",
        "beside a whole machine: device 0 would be another",
        "nothing said at all",
        "a whole GPU by its number",
        "a whole GPU by its UUID",
        "two whole GPUs",
    ],
)
def test_a_slice_that_is_all_the_container_holds_needs_no_name(
    cuda: str | None, nvidia: str | None, shown: str | None
) -> None:
    given = {"HOME": "/home/me"}
    given |= {"CUDA_VISIBLE_DEVICES": cuda} if cuda is not None else {}
    given |= {"NVIDIA_VISIBLE_DEVICES": nvidia} if nvidia is not None else {}
    found = environment(given)
    assert found.variables.get("CUDA_VISIBLE_DEVICES") == shown
    assert found.variables["HOME"] == "/home/me"
    assert found.variables.get("NVIDIA_VISIBLE_DEVICES") == nvidia


@pytest.mark.parametrize(
    ("cuda", "nvidia", "says"),
    [
        (OTHER, ONE, f"names {OTHER}, and the container was handed {ONE}"),
        ("1", ONE, "0 is legal"),
        ("0,1", ONE, "0 is legal"),
        ("", ONE, "finds no GPU"),
        (f"{ONE},{OTHER}", None, "one slice"),
        (f"0,{ONE}", None, "one slice"),
        (None, f"{ONE},{OTHER}", "names 2 slices"),
        (None, "void", "holds no GPU"),
    ],
    ids=[
        "a slice that was cut anew since",
        "a device that is not there",
        "more devices than one",
        "no device",
        "two slices",
        "a GPU and a slice",
        "a pod with two slices",
        "a pod without any",
    ],
)
def test_what_cuda_would_not_find_is_refused_before_the_engine_starts(
    cuda: str | None, nvidia: str | None, says: str
) -> None:
    given = {} if cuda is None else {"CUDA_VISIBLE_DEVICES": cuda}
    given |= {} if nvidia is None else {"NVIDIA_VISIBLE_DEVICES": nvidia}
    with pytest.raises(NotStarted, match=rf"^wrong slice: .*{says}") as refused:
        environment(given)
    assert refused.value.ending is Ending.WRONG_SLICE


def test_what_is_changed_or_may_go_wrong_is_said() -> None:
    [dropped] = environment({"CUDA_VISIBLE_DEVICES": ONE, "NVIDIA_VISIBLE_DEVICES": ONE}).notes
    assert "is dropped" in dropped
    [doubtful] = environment({"CUDA_VISIBLE_DEVICES": ONE}).notes
    assert "another GPU" in doubtful
    assert environment({"NVIDIA_VISIBLE_DEVICES": ONE}).notes == ()


def test_memory_does_not_grow_in_a_way_that_asks_nvml_about_a_slice() -> None:
    growing = "max_split_size_mb:512,expandable_segments:True"
    on_slice = environment({"NVIDIA_VISIBLE_DEVICES": ONE, "PYTORCH_CUDA_ALLOC_CONF": growing})
    assert on_slice.variables["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:512,expandable_segments:False"
    assert "expandable_segments" in on_slice.notes[0]
    on_gpu = environment({"NVIDIA_VISIBLE_DEVICES": WHOLE, "PYTORCH_CUDA_ALLOC_CONF": growing})
    assert on_gpu.variables["PYTORCH_CUDA_ALLOC_CONF"] == growing
