"""Where the manifests of config/ lie: beside the packages in a checkout, in this package where a wheel was installed.

Read by `api`, for the kind that they define, and by `whole`, for what is there from the start.
"""

from pathlib import Path
from typing import Final

_IN_A_WHEEL: Final = Path(__file__).with_name("config")
MANIFESTS: Final = _IN_A_WHEEL if _IN_A_WHEEL.is_dir() else Path(__file__).parents[2] / "config"
