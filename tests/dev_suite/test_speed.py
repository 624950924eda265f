"""`--speed`: simulated GPUs change so many times faster, by the clock of the agent that has them changed."""

from pathlib import Path
from typing import Final

from knative_mig.dev.whole.parts import CHANGE_MS
from tests.cluster.slices import GpuNodeView, metric_at
from tests.cluster.waits import eventually
from tests.dev_suite.own import api_of
from tests.dev_suite.parts import Part, Parts
from tests.dev_suite.running import At, started

_SLOW, _FAST = 0.2, 2.0  # slow enough that what else an agent does in a change is little beside it
_CALLS: Final = 2  # of the GPU and of its compute instance
_PHASES: Final = ("create", "destroy")
_PHASE_SECONDS: Final = "knative_mig_agent_phase_seconds_sum"


def test_a_slice_is_made_and_destroyed_so_many_times_faster() -> None:
    # A machine that is busy elsewhere for a tenth of a second doubles what is fast: not each time.
    slow, fast = _changed(_SLOW, times=1), _changed(_FAST, times=5)
    for phase, seconds in slow.items():
        assert seconds / fast[phase] > _FAST / _SLOW / 2


def _changed(speed: float, *, times: int) -> dict[str, float]:
    """How long each phase of a slice's life took at best; never shorter than hardware would take at that speed."""
    with started("--gpus", "1xA100-40GB", "--speed", str(speed)) as dev:
        node = GpuNodeView("node-1", api_of(dev))
        agent = Parts(dev.process.pid, Path(At.of(dev).logs)).one("reconfigurer.agent")
        lives = [_life(node, agent) for _ in range(times)]
    took = {phase: min(life[phase] for life in lives) for phase in _PHASES}
    assert min(took.values()) >= _CALLS * CHANGE_MS / 1000 / speed
    return took


def _life(node: GpuNodeView, agent: Part) -> dict[str, float]:
    before = _measured(agent)
    node.want("1g.5gb@6")
    node.want()
    after = eventually(
        "both are measured", lambda: _measured(agent), lambda now: all(now[each] > before[each] for each in _PHASES)
    )
    return {phase: after[phase] - before[phase] for phase in _PHASES}


def _measured(agent: Part) -> dict[str, float]:
    return {phase: metric_at(agent.ops, _PHASE_SECONDS, phase=phase) for phase in _PHASES}
