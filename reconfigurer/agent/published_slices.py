"""Keeps what containers need of one GPU's slices as the GPU is: published before a slice is offered, gone after it.

Called by `gpu_loop` with each reading, so that nothing has to be remembered over a restart: what is there is published,
what an earlier run left behind is swept. A slice that could not be published is told so, and tried again at the next
reading; nobody is given it until then.
"""

import logging
from dataclasses import replace

from knative_mig.core.agent.readings import SeenSlice
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed, SliceInjection

_LOG = logging.getLogger(__name__)


class PublishedSlices:
    def __init__(self, gpu: GpuUuid, injection: SliceInjection) -> None:
        self._gpu, self._injection = gpu, injection
        self._mig_uuids: dict[SliceId, str] = {}
        self._swept = False

    def follow(self, slices: tuple[SeenSlice, ...]) -> tuple[SeenSlice, ...]:
        """The same slices, each with why no container could be given it, if so."""
        told = tuple(self._published(self._id(seen), seen) for seen in slices)
        live = {self._id(seen) for seen in slices if not seen.half_made}
        try:
            for slice_id in self._mig_uuids.keys() - live:
                self._injection.withdraw(slice_id)
                del self._mig_uuids[slice_id]
            if not self._swept:
                self._injection.sweep(self._gpu, frozenset(self._mig_uuids))
                self._swept = True
        except InjectionFailed as error:
            _LOG.warning("What was published of a slice that is gone stays: %s", error)
        return told

    def _published(self, slice_id: SliceId, seen: SeenSlice) -> SeenSlice:
        if seen.mig_uuid is None or seen.ci_id is None or self._mig_uuids.get(slice_id) == seen.mig_uuid:
            return seen
        try:
            self._injection.publish(slice_id, seen.place, seen.mig_uuid, seen.gi_id, seen.ci_id)
        except InjectionFailed as error:
            _LOG.warning("%s cannot be offered: %s", slice_id, error)
            return replace(seen, not_injectable=str(error))
        self._mig_uuids[slice_id] = seen.mig_uuid
        return seen

    def _id(self, seen: SeenSlice) -> SliceId:
        return SliceId(gpu=self._gpu, profile=seen.place.profile.name, start=seen.place.start)
