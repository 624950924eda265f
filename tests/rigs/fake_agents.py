"""Agents, kubelets and a scheduler, as far as the planner sees them: for `fake_cluster`, and for what keeps objects so.

`Floor` knows what really stands on each GPU and who has it; what the cluster's objects say of it lags until `report` is
called. Like the real ones, an agent destroys nothing that a pod has, and makes nothing where something is.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Protocol

from knative_mig.core.cluster.objects import NodeFacts, Phase, PodFacts
from knative_mig.core.cluster.waiting import is_waiting, wanted_profile
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus, Holder, SliceKey, SliceState, SliceStatus
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from tests.rigs.whole_world import nodes_for

Slot = tuple[NodeName, GpuUuid, SliceKey]


class Objects(Protocol):
    @property
    def gpu_nodes(self) -> Mapping[Key, GpuNode]: ...

    @property
    def nodes(self) -> Mapping[Key, NodeFacts]: ...

    @property
    def pods(self) -> Mapping[Key, PodFacts]: ...

    def read(self, name: NodeName) -> GpuNode: ...

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> object: ...

    def put_node(self, node: NodeFacts) -> None: ...

    def put_pod(self, pod: PodFacts) -> None: ...

    def drop_pod(self, pod: PodFacts) -> None: ...


class Floor:
    def __init__(self, cluster: Objects) -> None:
        self._cluster = cluster
        self.held: dict[Slot, Holder | None] = {}  # every slice that stands, and who has it
        self.released: set[Slot] = set()  # of those: by holders whose pods go on
        self.dead: dict[Slot, Holder] = {}  # ids of such slices that stand no more
        for node in cluster.gpu_nodes.values():
            assert node.status
            for gpu in node.status.gpus:
                for each in gpu.slices:
                    self.held[node.name, gpu.uuid, each.key] = min(each.holders, default=None)

    def obey(self, name: NodeName) -> None:
        """The agent: what is not wanted and idle goes, what is wanted and has room comes, then it reports."""
        node = self._node(name)
        for wanted in node.spec.gpus:
            keys = {each.key for each in wanted.slices}
            for slot in self._on(name, wanted.uuid):
                if slot[2] not in keys and self.held[slot] is None:
                    del self.held[slot]
            for key in sorted(keys):
                new = (name, wanted.uuid, key)
                lies_on = [each for each in self._on(*new[:2]) if self._place(each).mask & self._place(new).mask]
                if new not in self.dead and self.released.issuperset(lies_on) and new not in lies_on:
                    self.dead |= {each: holder for each in lies_on if (holder := self.held.pop(each))}
                    self.released.difference_update(lies_on)
                    self.held[new] = None
        self.report(name)

    def report(self, name: NodeName) -> None:
        node = self._node(name)
        assert node.status
        gpus = tuple(
            replace(
                gpu,
                slices=tuple(
                    _status(slot[2], self._place(slot), self.held[slot], released=slot in self.released)
                    for slot in sorted(self._on(name, gpu.uuid))
                ),
            )
            for gpu in node.status.gpus
        )
        self._cluster.write_status(name, replace(node.status, gpus=gpus, observed_generation=node.generation))
        facts = next(each for each in self._cluster.nodes.values() if each.name == name)
        self._cluster.put_node(replace(facts, slices=self._counts(name)))

    def schedule(self, rng: Random) -> None:
        """The scheduler: each pod without a gate goes where it fits and a slice is left, to any such node."""
        waiting = [pod for pod in self._cluster.pods.values() if is_waiting(pod) and not pod.gates]
        for pod in sorted(waiting, key=lambda each: (-each.priority, each.created, each.name)):
            nodes = nodes_for(pod, self._cluster.nodes.values(), self._cluster.pods.values())
            fitting = [name for name in sorted(nodes) if self._left(name, wanted_profile(pod)) > 0]
            if fitting:
                self._admit(pod, rng.choice(fitting), rng)

    def _admit(self, pod: PodFacts, name: NodeName, rng: Random) -> None:
        """The kubelet: it gives any idle slice of the profile, and fails the pod if there is none after all."""
        idle = [slot for slot in self.held if slot[0] == name and slot[2].profile == wanted_profile(pod)]
        idle = sorted(slot for slot in idle if self.held[slot] is None)
        if not idle:
            self._cluster.put_pod(replace(pod, node=name, phase=Phase.FAILED, reason="UnexpectedAdmissionError"))
            return
        self.held[rng.choice(idle)] = Holder(namespace=pod.namespace, pod=pod.name, container="user")
        self._cluster.put_pod(replace(pod, node=name, phase=Phase.RUNNING))

    def release(self, pod: PodFacts) -> None:
        """It goes on without its slice."""
        found = (slot for slot, holder in self.held.items() if holder and holder.pod == pod.name)
        self.released.update(found)

    def end(self, pod: PodFacts) -> None:
        self.dead = {slot: holder for slot, holder in self.dead.items() if holder.pod != pod.name}
        for slot, holder in self.held.items():
            if holder and (holder.namespace, holder.pod) == (pod.namespace, pod.name):
                self.held[slot] = None
                self.released.discard(slot)
        self._cluster.drop_pod(pod)

    def _left(self, name: NodeName, profile: ProfileName) -> int:
        facts = next(each for each in self._cluster.nodes.values() if each.name == name)
        there = [pod for pod in self._cluster.pods.values() if pod.node == name and not pod.over]
        return facts.slices.get(profile, 0) - sum(pod.wants.get(profile, 0) for pod in there)

    def _counts(self, name: NodeName) -> dict[ProfileName, int]:
        counts: dict[ProfileName, int] = {}
        for node, _, key in (*self.held, *self.dead):
            if node == name:
                counts[key.profile] = counts.get(key.profile, 0) + 1
        return counts

    def _node(self, name: NodeName) -> GpuNode:
        return self._cluster.read(name)

    def _on(self, name: NodeName, uuid: GpuUuid) -> list[Slot]:
        return [slot for slot in self.held if slot[:2] == (name, uuid)]

    def _place(self, slot: Slot) -> Place:
        node = self._node(slot[0])
        assert node.status
        model = gpu_model(next(gpu.model for gpu in node.status.gpus if gpu.uuid == slot[1]))
        return model.place(model.profile(slot[2].profile), slot[2].start)


def _status(key: SliceKey, place: Place, holder: Holder | None, *, released: bool) -> SliceStatus:
    return SliceStatus(
        key=key,
        size=place.profile.memory_units,
        state=SliceState.RELEASED if released else SliceState.BUSY if holder else SliceState.IDLE,
        mig_uuid="MIG-x",
        holders=(holder,) if holder else (),
    )
