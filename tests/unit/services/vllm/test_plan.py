"""From a slice and a model to flags; each of them is one that the pinned release takes."""

from dataclasses import replace
from fractions import Fraction

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.performance import LLMS, kv_tokens
from services.vllm.annotations import Lengths
from services.vllm.failures import Ending, NotStarted
from services.vllm.model_facts import ModelFacts
from services.vllm.own_flags import ALSO
from services.vllm.plan import OF_MEMORY, OURS, Plan, Slice, Wanted, plan
from tests.rigs.vllm_stub import RELEASE, parser

LLAMA_3 = ModelFacts(weights_bytes=16_060_000_000, kv_bytes_per_token=131_072, context=8192)
LLAMA_2 = ModelFacts(weights_bytes=13_480_000_000, kv_bytes_per_token=524_288, context=4096)
OPT = ModelFacts(weights_bytes=2_620_000_000, kv_bytes_per_token=196_608, context=2048)
WANTED = Wanted(model="/models/it", port=8080, host="127.0.0.1")

# Of an A100-80GB.
ONE_10 = Slice(memory_mib=9728, compute_share=Fraction(1, 7))
ONE_20 = Slice(memory_mib=19968, compute_share=Fraction(1, 7))
THREE_40 = Slice(memory_mib=40192, compute_share=Fraction(3, 7))
WHOLE = Slice(memory_mib=80384, compute_share=Fraction(1))


def values(planned: Plan) -> dict[str, str]:
    return {flag.name.removeprefix("--"): flag.value for flag in planned.flags}


@pytest.mark.parametrize(
    ("slice_", "facts", "lengths", "expected"),
    [
        (ONE_20, LLAMA_3, Lengths(), (13_600, 8192, 13, 1024)),
        (ONE_20, LLAMA_3, Lengths(input_tokens=256, output_tokens=256), (13_600, 8192, 26, 1024)),
        (ONE_20, LLAMA_2, Lengths(input_tokens=384, output_tokens=128), (8320, 4096, 16, 1024)),
        (THREE_40, LLAMA_3, Lengths(input_tokens=256, output_tokens=256), (159_216, 8192, 219, 2048)),
        (WHOLE, LLAMA_3, Lengths(input_tokens=6000), (448_592, 8192, 68, 8192)),
        (ONE_20, LLAMA_3, Lengths(output_tokens=3000), (13_600, 8192, 3, 1024)),
        (ONE_10, OPT, Lengths(input_tokens=6000), (28_272, 2048, 13, 1024)),
        (ONE_10, OPT, Lengths(input_tokens=256, output_tokens=256), (28_272, 2048, 55, 1024)),
        (WHOLE, OPT, Lengths(input_tokens=16, output_tokens=16), (367_424, 2048, 512, 8192)),
        (ONE_20, replace(LLAMA_3, context=131_072), Lengths(), (13_600, 13_600, 13, 1024)),
    ],
    ids=[
        "what a chat takes, where nobody says",
        "short requests: more of them",
        "a token that takes four times as much",
        "a share of the sequences, however much memory",
        "long prompts, and answers of which nobody says",
        "long answers, and prompts of which nobody says",
        "no request is longer than the model's context",
        "a small model on the smallest slice",
        "never more than readers wait for",
        "a context that the slice does not hold is cut to what it does",
    ],
)
def test_the_memory_left_beside_the_weights_decides(
    slice_: Slice, facts: ModelFacts, lengths: Lengths, expected: tuple[int, int, int, int]
) -> None:
    tokens, context, sequences, batched = expected
    planned = plan(slice_, facts, replace(WANTED, lengths=lengths))
    assert values(planned) == {
        "host": "127.0.0.1",
        "port": "8080",
        "override-generation-config": '{"max_new_tokens": null}',
        "shutdown-timeout": "300",
        "gpu-memory-utilization": "0.90",
        "kv-cache-memory-bytes": str(tokens * facts.kv_bytes_per_token),
        "max-model-len": str(context),
        "max-num-seqs": str(sequences),
        "max-num-batched-tokens": str(batched),
    }
    asked = parser().parse_args(planned.arguments[1:])
    assert asked.model_tag == "/models/it"
    assert asked.kv_cache_memory_bytes == tokens * facts.kv_bytes_per_token
    assert asked.max_num_seqs == sequences


def test_a_model_fits_here_where_it_was_said_to_fit() -> None:
    """The same law as decides the slice: but for what does not fill a block."""
    for name, facts in (("llama-3-8b", LLAMA_3), ("llama-2-7b", LLAMA_2)):
        said = kv_tokens(LLMS[name], 40192)
        [flag] = [flag for flag in plan(THREE_40, facts, WANTED).flags if flag.name == "--kv-cache-memory-bytes"]
        assert int(flag.value) // facts.kv_bytes_per_token == said // 16 * 16


def test_what_does_not_fit_is_refused_with_the_slice_that_it_needs() -> None:
    with pytest.raises(NotStarted, match=r"^does not fit: /models/it has 16\.06 GB .* has 9728$") as refused:
        plan(ONE_10, LLAMA_3, WANTED)
    assert refused.value.ending is Ending.DOES_NOT_FIT
    needed = int(str(refused.value).split("needs ")[1].split(" MiB")[0])
    plan(Slice(memory_mib=needed), LLAMA_3, WANTED)
    with pytest.raises(NotStarted):
        plan(Slice(memory_mib=needed - 20), LLAMA_3, WANTED)


@pytest.mark.parametrize(
    ("slice_", "facts"),
    [(ONE_20, None), (Slice(compute_share=Fraction(1, 7)), LLAMA_3)],
    ids=["a model that is only a name", "a slice of unknown memory"],
)
def test_where_the_arithmetic_cannot_be_done_vllm_measures(slice_: Slice, facts: ModelFacts | None) -> None:
    found = values(plan(slice_, facts, WANTED))
    assert not {"kv-cache-memory-bytes", "max-model-len"} & set(found)
    assert found["gpu-memory-utilization"] == "0.90"
    assert found["max-num-seqs"] == "73"
    assert found["max-num-batched-tokens"] == "1024"


@pytest.mark.parametrize(
    ("own", "without"),
    [
        (("--max-num-seqs", "5"), {"max-num-seqs"}),
        (("--max-num-seqs=5",), {"max-num-seqs"}),
        (("--max_num_seqs", "5"), {"max-num-seqs"}),
        (("--override-generation-config.top_p", "0.9"), {"override-generation-config"}),
        (("--max-model-len", "2K"), {"max-model-len"}),
        (("--dtype", "half"), set[str]()),
        (("--gpu-memory-utilization", "0.5"), {"gpu-memory-utilization", "kv-cache-memory-bytes", "max-model-len"}),
        (("--device-memory-utilization", "0.5"), {"gpu-memory-utilization", "kv-cache-memory-bytes", "max-model-len"}),
        (("-q", "fp8"), {"kv-cache-memory-bytes", "max-model-len"}),
        (("--enable-lora",), {"kv-cache-memory-bytes", "max-model-len"}),
    ],
    ids=[
        "a value",
        "with =",
        "with _",
        "a part of it",
        "a context",
        "something else",
        "of memory",
        "by its other name",
        "quantised while it loads",
        "weights beside the model's",
    ],
)
def test_what_the_function_sets_itself_is_left_to_it(own: tuple[str, ...], without: set[str]) -> None:
    usual = plan(ONE_20, LLAMA_3, WANTED)
    planned = plan(ONE_20, LLAMA_3, replace(WANTED, own=own))
    assert set(values(usual)) - set(values(planned)) == without
    assert planned.arguments[-len(own) :] == own


@pytest.mark.parametrize("name", sorted(OURS))
def test_how_health_is_asked_is_not_the_functions_to_set(name: str) -> None:
    for own in ((f"{name}=9000",), (name, "9000"), ("--dtype", "half", name.replace("-", "_").replace("__", "--"))):
        with pytest.raises(BadInput, match=f"^{name} is the launcher's own"):
            plan(ONE_20, LLAMA_3, replace(WANTED, own=own))


@pytest.mark.parametrize(
    ("facts", "own", "step"),
    [
        (LLAMA_3, ("--max-num-seqs", "2000"), "2000"),
        (LLAMA_3, ("--max_num_seqs=1024",), "1024"),
        (LLAMA_3, ("--no-enable-chunked-prefill",), "8192"),
        (LLAMA_3, ("--no-enable-chunked-prefill", "--max-model-len", "2K"), "2048"),
        (LLAMA_3, ("--no-enable-chunked-prefill", "--max-model-len=0.5k"), "1024"),
        (LLAMA_3, ("--no-enable-chunked-prefill", "--max-num-seqs", "9000"), "9000"),
        (LLAMA_3, ("--no-enable-chunked-prefill", "--enable-chunked-prefill"), "1024"),
        (None, ("--no-enable-chunked-prefill",), None),
        (None, ("--no_enable_chunked_prefill", "--max-model-len", "auto"), None),
        (None, ("--no_enable_chunked_prefill", "--max-model-len", "4096"), "4096"),
    ],
)
def test_a_step_has_as_many_tokens_as_vllm_wants_for_what_the_function_sets(
    facts: ModelFacts | None, own: tuple[str, ...], step: str | None
) -> None:
    assert values(plan(ONE_20, facts, replace(WANTED, own=own))).get("max-num-batched-tokens") == step


def test_no_more_sequences_are_asked_for_than_the_functions_own_step_has_tokens() -> None:
    planned = plan(ONE_20, LLAMA_3, replace(WANTED, own=("--max-num-batched-tokens", "8")))
    assert values(planned)["max-num-seqs"] == "8"
    assert "max-num-batched-tokens" not in values(planned)


@pytest.mark.parametrize("own", [("--dtype", "float32"), ("--dtype=float",), ("--dtype", "half", "--dtype", "float")])
def test_numbers_of_32_bits_take_twice_the_memory(own: tuple[str, ...]) -> None:
    twice = ModelFacts(weights_bytes=2 * OPT.weights_bytes, kv_bytes_per_token=2 * OPT.kv_bytes_per_token, context=2048)
    assert values(plan(ONE_10, OPT, replace(WANTED, own=own))) == values(plan(ONE_10, twice, WANTED))
    with pytest.raises(NotStarted, match="does not fit"):
        plan(ONE_20, LLAMA_3, replace(WANTED, own=own))


def test_every_flag_that_it_looks_for_is_one_of_the_releases() -> None:
    options = RELEASE["options"]
    assert set(options) >= OF_MEMORY | OURS
    assert {name for name in options if name.startswith("--ssl-")} <= OURS
    for other, name in ALSO.items():
        assert other in options[name]["also"]


@pytest.mark.parametrize("share", ["0", "8/7", "x", "1/0"])
def test_a_share_is_a_part_of_a_whole(share: str) -> None:
    with pytest.raises(BadInput, match="written like 3/7"):
        Slice.of(memory_mib=None, compute_share=share)
