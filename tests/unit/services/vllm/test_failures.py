"""The engine's last words, as vLLM 0.33.0 and what is under it write them, and which ending each is."""

import signal

import pytest

from services.vllm.failures import Ending, failure

ENGINE = "(EngineCore pid=71) ERROR 11-29 02:00:00 [core.py:1160] "
LAST = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above."


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        ("ValueError: No available memory for the cache blocks. Try increasing", Ending.DOES_NOT_FIT),
        ("ValueError: To serve at least one request with the model's max seq len (131072)", Ending.DOES_NOT_FIT),
        ("ValueError: Free memory on device cuda:0 (3.1/9.5 GiB) on startup is less than desired", Ending.DOES_NOT_FIT),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", Ending.DOES_NOT_FIT),
        ("RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator", Ending.DOES_NOT_FIT),
        ("ValueError: invalid literal for int() with base 10: 'MIG-377e0049'", Ending.WRONG_SLICE),
        ("ValueError: Non-integer device ID 'MIG-377e0049' is not supported by cuda.", Ending.WRONG_SLICE),
        ("vllm.third_party.pynvml.NVMLError_InvalidArgument: Invalid Argument", Ending.WRONG_SLICE),
        ("RuntimeError: No CUDA GPUs are available", Ending.WRONG_SLICE),
        ("torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable", Ending.WRONG_SLICE),
        ("RuntimeError: Failed to infer device type, please set the environment variable", Ending.WRONG_SLICE),
        ("ValueError: Invalid repository ID or local directory specified: 'no/such'.", Ending.UNKNOWN_MODEL),
        ("OSError: no/such is not a valid model identifier listed on 'https://huggingface.co'", Ending.UNKNOWN_MODEL),
        ("ValueError: Model architectures ['XForCausalLM'] are not supported for now.", Ending.UNKNOWN_MODEL),
        (
            "Value error, max_num_batched_tokens (64) must be greater than or equal to max_num_seqs (73).",
            Ending.BAD_INPUT,
        ),
        ("Value error, max_num_batched_tokens (64) is smaller than max_model_len (8192).", Ending.BAD_INPUT),
        ("vllm: error: unrecognized arguments: --no-such-flag", Ending.BAD_INPUT),
        ("vllm serve: error: argument --dtype: invalid choice: 'fp3'", Ending.BAD_INPUT),
    ],
)
def test_the_cause_is_the_first_line_that_bears_a_sign(said: str, ending: Ending) -> None:
    found = failure(["INFO starting", ENGINE + "Traceback (most recent call last):", ENGINE + said + "\n", LAST], 1)
    assert found.ending is ending
    assert found.line.endswith(": " + said)  # without who wrote it and when
    assert "\n" not in found.line


def test_what_comes_after_the_cause_does_not_stand_for_it() -> None:
    """An engine that finds no slice goes on to fail in other ways."""
    found = failure([ENGINE + "RuntimeError: No CUDA GPUs are available", "CUDA out of memory"], 1)
    assert found.ending is Ending.WRONG_SLICE


def test_an_end_without_a_known_sign_is_told_with_the_last_line_and_the_code() -> None:
    found = failure(["one", "(APIServer pid=1) KeyError: 'x'", ""], 3)
    assert found.ending is Ending.FAILED
    assert found.line == "failed: the engine ended with 3 before it was ready: KeyError: 'x'"
    assert failure([], 0).line == "failed: the engine ended with 0 before it was ready"


def test_an_engine_that_was_killed_is_told_as_such() -> None:
    killed = failure(["loading"], -signal.SIGKILL)
    assert killed.ending is Ending.FAILED
    assert "SIGKILL" in killed.line
    assert "more memory than its limit" in killed.line
    assert "limit" not in failure([], -signal.SIGSEGV).line


def test_the_line_stays_one_that_a_person_reads() -> None:
    found = failure(["CUDA out of memory " + "x" * 5000], 1)
    assert len(found.line) == 400
    assert found.line.endswith("…")
