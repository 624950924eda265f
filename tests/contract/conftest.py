from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.gpu_rigs import KINDS, SHARED_KINDS, Rig, rig

RigMaker = Callable[[str], Rig]


@pytest.fixture(params=KINDS)
def gpus_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RigMaker]:
    """Each implementation in turn, with the GPUs that the test asks for."""
    with ExitStack() as rigs:
        yield lambda spec: rigs.enter_context(rig(request.param, spec, tmp_path))


@pytest.fixture
def gpus(gpus_of: RigMaker) -> Rig:
    return gpus_of("2xA100-40GB,1xH100-80GB")


@pytest.fixture(params=SHARED_KINDS)
def shared_gpus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with rig(request.param, "1xA100-40GB", tmp_path) as made:
        yield made
