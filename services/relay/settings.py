"""The relay's settings, each with its unit and the reason for its default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.relays import MOVE_PORT
from services.relay.resumable import OPENAI, TINY_LLM, VLLM, Traits

ENGINES: Final[dict[str, Traits]] = {"tiny-llm": TINY_LLM, "vllm": VLLM, "openai": OPENAI}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    command: tuple[str, ...] = ()  # of the engine
    engine: str = "tiny-llm"  # one of ENGINES; openai: anything that speaks its API, and nothing moves
    engine_port: int = 0  # any that is free: the pod's network is its own
    host: str = "0.0.0.0"  # noqa: S104 - queue-proxy and probes come from outside
    port: int = 8080
    move_port: int = MOVE_PORT
    secret_file: Path | None = None  # without, or where there is none: nothing moves, from here or to here
    function_url: str = ""  # without: what an engine's death breaks off is not taken up elsewhere
    function_gateway: str = ""  # who is connected to for it, HOST:PORT; without: its host is looked up
    slice_dir: Path = Path("/var/run/knative-mig/slice")  # where the agent mounts its socket
    connections: int = 1200  # a thread each; more than any activator sends to one replica
