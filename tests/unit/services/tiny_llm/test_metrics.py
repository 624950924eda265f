"""The names, as a dashboard for vLLM asks for them."""

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked, Finish
from services.tiny_llm.metrics import Metrics
from services.tiny_llm.sampler import Sampling
from tests.rigs.tiny_models import AMPLE, random_weights


@pytest.fixture(autouse=True)
def _no_times_of_creation() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]


def values(registry: CollectorRegistry) -> dict[str, float]:
    """By name, without labels and buckets."""
    lines = [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#" and "le=" not in line]
    return {line.partition("{")[0]: float(line.split()[-1]) for line in lines if "finished_reason" not in line}


def test_a_generation_is_counted_and_timed_from_end_to_end() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "tiny", AMPLE.blocks)
    engine = Engine(random_weights(), AMPLE)
    asked = Asked(prompt=(1,) * 40, most_tokens=3, sampling=Sampling(seed=1, ignore_end=True))
    generation = engine.add(asked, 10.0)
    metrics.asked(n=1, most_tokens=3)
    for now in (12.0, 13.0, 15.0):
        step = engine.step(now - 0.5)
        metrics.state(running=1, waiting=0, blocks=engine.scheduler.blocks)
        metrics.step(step, now, preemptions=0)
        generation.token_came(now)
    assert step.told[0][1].finish is Finish.LENGTH
    metrics.finished(generation, Finish.LENGTH, 15.0)
    metrics.rejected()
    expected = {
        "vllm:num_requests_running": 1,
        "vllm:num_requests_waiting": 0,
        "vllm:kv_cache_usage_perc": 0,
        "vllm:num_preemptions_total": 0,
        "vllm:prefix_cache_queries_total": 40,
        "vllm:prefix_cache_hits_total": 0,
        "vllm:prompt_tokens_total": 40,
        "vllm:generation_tokens_total": 3,
        "vllm:admission_rejections_total": 1,
        "vllm:cache_config_info": 1,
        "vllm:time_to_first_token_seconds_sum": 2,
        "vllm:inter_token_latency_seconds_sum": 3,
        "vllm:inter_token_latency_seconds_count": 2,
        "vllm:request_time_per_output_token_seconds_sum": 1.5,
        "vllm:e2e_request_latency_seconds_sum": 5,
        "vllm:request_queue_time_seconds_sum": 1.5,
        "vllm:request_inference_time_seconds_sum": 3.5,
        "vllm:request_prefill_time_seconds_sum": 0.5,
        "vllm:request_decode_time_seconds_sum": 3,
        "vllm:request_prompt_tokens_sum": 40,
        "vllm:request_generation_tokens_sum": 3,
        "vllm:request_max_num_generation_tokens_sum": 3,
        "vllm:request_params_max_tokens_sum": 3,
        "vllm:request_params_n_sum": 1,
        "vllm:iteration_tokens_total_sum": 42,
    }
    told = values(registry)
    assert {name: told[name] for name in expected} == expected


def test_who_went_away_is_counted_and_not_timed() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "tiny", AMPLE.blocks)
    generation = Engine(random_weights(), AMPLE).add(Asked(prompt=(1,), most_tokens=3, sampling=Sampling()), 0.0)
    metrics.finished(generation, Finish.ABORT, 5.0)
    labels = {"model_name": "tiny", "engine": "0"}
    assert registry.get_sample_value("vllm:request_success_total", {**labels, "finished_reason": "abort"}) == 1
    assert registry.get_sample_value("vllm:e2e_request_latency_seconds_count", labels) == 0


def test_a_warm_up_is_no_request_and_what_it_has_computed_is_a_hit_of_the_cache() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "tiny", AMPLE.blocks)
    engine = Engine(random_weights(), AMPLE)

    def one_token(*, only_warms: bool) -> None:
        sampling = Sampling(seed=1, ignore_end=True)
        asked = Asked(prompt=(1,) * 40, said=(2,) * 20, most_tokens=21, sampling=sampling, only_warms=only_warms)
        generation = engine.add(asked, 0.0)
        step = engine.step(0.5)
        metrics.step(step, 1.0, preemptions=0)
        metrics.finished(generation, Finish.LENGTH, 1.0)

    one_token(only_warms=True)
    told = {name: value for name, value in values(registry).items() if value}
    expected = {"vllm:cache_config_info", "vllm:prefix_cache_queries_total", "vllm:iteration_tokens_total_sum",
                "vllm:iteration_tokens_total_count"}  # fmt: skip
    assert told.keys() == expected
    finished = {"model_name": "tiny", "engine": "0", "finished_reason": "length"}
    assert registry.get_sample_value("vllm:request_success_total", finished) == 0
    one_token(only_warms=False)
    told = values(registry)
    assert told["vllm:prefix_cache_queries_total"] == 120
    assert told["vllm:prefix_cache_hits_total"] == 59
    assert told["vllm:prompt_tokens_total"] == 60
    assert told["vllm:generation_tokens_total"] == 1
    assert registry.get_sample_value("vllm:request_success_total", finished) == 1
