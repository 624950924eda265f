"""GPUs whose calls are counted, by what was called and what came of it.

Put around each GPU's driver in `process`. The subtle thing is waiting for events, which goes on all the time and says
nothing: it is not counted.
"""

from collections.abc import Callable
from typing import TypeVar

from knative_mig.core.errors import GpuError, KnativeMigError
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import (
    Activation,
    Gpu,
    GpuDriver,
    GpuInstance,
    GpuUuid,
    HealthEvent,
    Inventory,
    Occupancy,
    SliceProcess,
)
from reconfigurer.agent.metrics import AgentMetrics

T = TypeVar("T")


class CountedGpus:
    """A `ports.gpu.GpuDriver`."""

    def __init__(self, driver: GpuDriver, metrics: AgentMetrics) -> None:
        self._driver = driver
        self._calls = metrics.hardware_calls

    def inventory(self) -> Inventory:
        return self._counted("inventory", self._driver.inventory)

    def gpu(self, uuid: GpuUuid) -> Gpu:
        return self._counted("gpu", lambda: self._driver.gpu(uuid))

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        return self._counted("set_mig_mode", lambda: self._driver.set_mig_mode(uuid, enabled=enabled))

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        return self._counted("remaining_capacity", lambda: self._driver.remaining_capacity(uuid, profile))

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        return self._counted("create_gpu_instance", lambda: self._driver.create_gpu_instance(uuid, profile, start))

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        return self._counted("create_compute_instance", lambda: self._driver.create_compute_instance(instance))

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        return self._counted("destroy_compute_instance", lambda: self._driver.destroy_compute_instance(instance))

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        self._counted("destroy_gpu_instance", lambda: self._driver.destroy_gpu_instance(instance))

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        return self._counted("processes", lambda: self._driver.processes(instance))

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        """Counted as what it is made of."""
        read = self._counted("gpu", lambda: self._driver.occupancy(uuid))
        for listed in read.processes.values():
            self._calls.labels("processes", listed.reason if isinstance(listed, GpuError) else "ok").inc()
        return read

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        return self._driver.wait_for_event(timeout_s)

    def close(self) -> None:
        self._driver.close()

    def _counted(self, call: str, asked: Callable[[], T]) -> T:
        try:
            answer = asked()
        except KnativeMigError as error:
            self._calls.labels(call, error.reason).inc()
            raise
        self._calls.labels(call, "ok").inc()
        return answer
