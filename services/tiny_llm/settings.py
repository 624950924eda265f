"""The server's settings, each with its unit and the reason for its default."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.tiny_llm.capacity import Slice

WEIGHTS: Final = Path(__file__).parent / "weights.safetensors"
MODEL: Final = "tiny-llm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str = "0.0.0.0"  # noqa: S104 - queue-proxy and probes come from outside
    port: int = 8080
    model: str = MODEL
    weights: Path = WEIGHTS
    slice: Slice = field(default_factory=Slice)
    paced_as: str = ""  # nothing: as fast as it can
    pace_gpu: str = "A100-80GB"
    most_waiting: int = 128  # generations beside those that run; more are told to come again
    connections: int = 1200  # a thread each; more than any activator sends to one replica
