"""Where the weights lie."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).parent / "weights.safetensors"
