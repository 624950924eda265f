"""What `knative-mig dev` is told, by the verb's options and by tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput

HOST: Final = "127.0.0.1"  # of everything: nothing of `dev` is reached from another machine
GATEWAY_PORT: Final = 8080
API_PORT: Final = 7080
GPUS: Final = "2xA100-40GB"
CHAOS_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSettings:
    gpus: str | None = None  # as `fleet` reads them; None: what the state was made for, or the default
    port: int = GATEWAY_PORT  # of the gateway; 0: any
    api_port: int = API_PORT
    speed: float = 1.0  # how many times faster than hardware simulated GPUs change
    chaos_s: float | None = None  # something is killed about as often; None: nothing
    keeps_hung: bool = False  # a part that hangs is let be
    state: Path | None = None  # kept there from one start to the next; None: nothing is kept

    def __post_init__(self) -> None:
        if self.port == self.api_port != 0:
            raise BadInput(f"--port and --api-port are both {self.port}: legal are two ports, 0 takes any")
