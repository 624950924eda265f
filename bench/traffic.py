"""Makes the arrivals that every rule is asked to serve: Poisson, with exponential holding times, from one seed.

Load is offered compute slots over capacity: at load 1.0 the running requests would hold on average as many compute
slices as the fleet has, if none were ever lost. Time is in mean holding times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

MODEL: Final[GpuModel] = gpu_model("A100-40GB")
GPUS: Final = 40

# What is asked for; a rule is told a position in this menu.
MENU: Final[tuple[Profile, ...]] = tuple(
    MODEL.profile(ProfileName.parse(name)) for name in ("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
)
SLOTS: Final = tuple(profile.compute for profile in MENU)
WHOLE_GPU: Final = len(MENU) - 1

# Shares in percent of 1g, 2g, 3g, 4g, 7g.
MIXES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"standard": (40, 25, 20, 10, 5), "big": (20, 20, 25, 20, 15), "small": (60, 25, 10, 4, 1)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    mix: str = "standard"
    load: float = 1.0
    gpus: int = GPUS
    arrivals: int = 25_000
    # The fleet starts empty; these arrivals (8 holding times at load 1.0) fill it and are not counted.
    warm_up: int = 1_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """`events` in order of time: `request` arrives, `~request` ends. A lost request's end is in there too."""

    setting: Setting
    kinds: tuple[int, ...]  # by request: its position in MENU
    events: tuple[int, ...]


def make_traffic(setting: Setting, seed: int) -> Traffic:
    random = np.random.default_rng(seed)
    shares = np.array(MIXES[setting.mix]) / 100
    slots_per_request = float(shares @ np.array(SLOTS))
    rate = setting.load * setting.gpus * MODEL.compute_slices / slots_per_request
    arrived = np.cumsum(random.exponential(1 / rate, setting.arrivals))
    ended = arrived + random.exponential(1.0, setting.arrivals)
    kinds = random.choice(len(MENU), setting.arrivals, p=shares)
    requests = np.arange(setting.arrivals)
    events = np.concatenate([requests, ~requests])[np.argsort(np.concatenate([arrived, ended]), kind="stable")]
    return Traffic(setting, tuple(kinds.tolist()), tuple(events.tolist()))
