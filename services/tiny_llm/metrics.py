"""What the server counts, under vLLM's names, so that any dashboard for vLLM shows it.

The table is that of vLLM 0.33.0 (`vllm/v1/metrics/loggers.py`, PrometheusStatLogger, and `buckets.py`), less what there
is nothing of here: adapters, speculation, connectors, other modalities. Written by the loop's thread, and read by
whichever thread answers a scrape. A warm-up is work and no request: steps and the prefix cache count it, nothing else
does, or a generation that moves would be two.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.tiny_llm.engine import Step
from services.tiny_llm.generation import Finish, Generation
from services.tiny_llm.kv_blocks import BLOCK, Blocks

GAUGES: Final = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
}
COUNTERS: Final = {
    "prefix_cache_queries": "Prefix cache queries, in terms of number of queried tokens.",
    "prefix_cache_hits": "Prefix cache hits, in terms of number of cached tokens.",
    "num_preemptions": "Cumulative number of preemption from the engine.",
    "prompt_tokens": "Number of prefill tokens processed.",
    "generation_tokens": "Number of generation tokens processed.",
}
_LATENCY: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
_FIRST_TOKEN: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
_BETWEEN_TOKENS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # up to the context, by 1, 2 and 5
_OF_A_STEP: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_NUMBER: Final = (1, 2, 5, 10, 20)
HISTOGRAMS: Final = {
    "time_to_first_token_seconds": ("Histogram of time to first token in seconds.", _FIRST_TOKEN),
    "inter_token_latency_seconds": ("Histogram of inter-token latency in seconds.", _BETWEEN_TOKENS),
    "request_time_per_output_token_seconds": (
        "Histogram of time_per_output_token_seconds per request.",
        _BETWEEN_TOKENS,
    ),
    "e2e_request_latency_seconds": ("Histogram of e2e request latency in seconds.", _LATENCY),
    "request_queue_time_seconds": ("Histogram of time spent in WAITING phase for request.", _LATENCY),
    "request_inference_time_seconds": ("Histogram of time spent in RUNNING phase for request.", _LATENCY),
    "request_prefill_time_seconds": ("Histogram of time spent in PREFILL phase for request.", _LATENCY),
    "request_decode_time_seconds": ("Histogram of time spent in DECODE phase for request.", _LATENCY),
    "request_prompt_tokens": ("Number of prefill tokens processed.", _TOKENS),
    "request_generation_tokens": ("Number of generation tokens processed.", _TOKENS),
    "request_max_num_generation_tokens": ("Histogram of maximum number of requested generation tokens.", _TOKENS),
    "request_params_max_tokens": ("Histogram of the max_tokens request parameter.", _TOKENS),
    "request_params_n": ("Histogram of the n request parameter.", _NUMBER),
    "iteration_tokens_total": ("Histogram of number of tokens per engine_step.", _OF_A_STEP),
}
_LABELS: Final = ("model_name", "engine")


class Metrics:
    def __init__(self, registry: CollectorRegistry, model: str, blocks: int) -> None:
        labels = {"model_name": model, "engine": "0"}
        self._gauges = {
            name: Gauge(f"vllm:{name}", text, _LABELS, registry=registry).labels(**labels)
            for name, text in GAUGES.items()
        }
        self._counters = {
            name: Counter(f"vllm:{name}", text, _LABELS, registry=registry).labels(**labels)
            for name, text in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"vllm:{name}", text, _LABELS, registry=registry, buckets=buckets).labels(**labels)
            for name, (text, buckets) in HISTOGRAMS.items()
        }
        success = Counter(
            "vllm:request_success",
            "Count of successfully processed requests.",
            (*_LABELS, "finished_reason"),
            registry=registry,
        )
        self._finished = {each: success.labels(**labels, finished_reason=each.value) for each in Finish}
        self._rejected = Counter(
            "vllm:admission_rejections",
            "Number of admission attempts rejected by a queue limit, by reason.",
            ("model_name", "reason"),
            registry=registry,
        ).labels(model_name=model, reason="max_num_queued_reqs")
        config = {"block_size": str(BLOCK), "num_gpu_blocks": str(blocks), "engine": "0"}
        Gauge(
            "vllm:cache_config_info", "Information of the LLMEngine CacheConfig", (*config,), registry=registry
        ).labels(**config).set(1)
        self._preemptions = 0

    def asked(self, *, n: int, most_tokens: int) -> None:
        self._histograms["request_params_n"].observe(n)
        self._histograms["request_params_max_tokens"].observe(most_tokens)

    def rejected(self) -> None:
        self._rejected.inc()

    def state(self, *, running: int, waiting: int, blocks: Blocks) -> None:
        self._gauges["num_requests_running"].set(running)
        self._gauges["num_requests_waiting"].set(waiting)
        self._gauges["kv_cache_usage_perc"].set(blocks.used / blocks.count)

    def step(self, step: Step, now: float, *, preemptions: int) -> None:
        """Before the generations are told that they have got a token."""
        if step.decoded or step.prompt_tokens:
            self._histograms["iteration_tokens_total"].observe(step.decoded + step.prompt_tokens)
        self._counters["num_preemptions"].inc(preemptions - self._preemptions)
        self._preemptions = preemptions
        for generation, _ in step.told:
            given = len(generation.asked.prompt) + len(generation.asked.said)
            if generation.last_token_s is None:
                self._counters["prefix_cache_queries"].inc(given)
                self._counters["prefix_cache_hits"].inc(generation.kept)
            if generation.asked.only_warms:
                continue
            self._counters["generation_tokens"].inc()
            if generation.last_token_s is None:
                self._counters["prompt_tokens"].inc(given)
                self._histograms["time_to_first_token_seconds"].observe(now - generation.arrived_s)
            else:
                self._histograms["inter_token_latency_seconds"].observe(now - generation.last_token_s)

    def finished(self, generation: Generation, finish: Finish, now: float) -> None:
        if generation.asked.only_warms:
            return
        self._finished[finish].inc()
        if finish is Finish.ABORT:
            return
        told = self._histograms
        scheduled = generation.arrived_s if generation.scheduled_s is None else generation.scheduled_s
        first = now if generation.first_token_s is None else generation.first_token_s
        told["e2e_request_latency_seconds"].observe(now - generation.arrived_s)
        told["request_queue_time_seconds"].observe(scheduled - generation.arrived_s)
        told["request_inference_time_seconds"].observe(now - scheduled)
        told["request_prefill_time_seconds"].observe(first - scheduled)
        told["request_decode_time_seconds"].observe(now - first)
        told["request_prompt_tokens"].observe(len(generation.asked.prompt))
        told["request_generation_tokens"].observe(generation.drawn)
        told["request_max_num_generation_tokens"].observe(generation.drawn)
        if generation.drawn > 1:
            told["request_time_per_output_token_seconds"].observe((now - first) / (generation.drawn - 1))
