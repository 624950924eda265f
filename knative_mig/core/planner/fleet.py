"""All GPUs, arranged so that the best place for a profile is found without looking at each of them.

Made by `batch.plan` from an inventory, or kept by a caller that plans again and again and tells it what changed
(`replace`). While a plan is being made the fleet takes on each step at once (`assign`) and is wound back at the end.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.inventory import Busy, Gpu, GpuUuid, Idle, Inventory, NodeName, Slice
from knative_mig.core.planner.arrangement import Arrangement
from knative_mig.core.planner.fits import Tier, fits
from knative_mig.core.planner.flexibility import Flexibility
from knative_mig.core.planner.gpu_state import GpuState, Key, items_of, outline_of
from knative_mig.core.planner.offers import Clearing, Fit
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.ranking import Ranking, by_clearing, by_fit
from knative_mig.core.planner.startup import ALIKE_EVERYWHERE, StartTimes
from knative_mig.core.profile import ProfileName

# Up to so many eligible nodes are looked at one by one; more are found faster by walking the ranking.
_FEW_NODES = 32
# States beyond two a GPU that are kept although no GPU is in them: one plan makes and undoes hundreds.
_SPARE_STATES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One slice wanted: what, where it may be, how long the function takes to start.

    `waits`: the times between which an ending pod must be due; what is overdue for longer is not believed any more.
    `closed`: masks by GPU position that are spoken for by the very decision being made. `spares_whole`: the last whole
    GPUs of a model are not for it (`Policy.reserve_whole`).
    """

    name: ProfileName
    nodes: frozenset[NodeName] | None = None
    starts: StartTimes = ALIKE_EVERYWHERE
    waits: tuple[float, float] | None = None
    closed: Mapping[int, int] = field(default_factory=dict)
    spares_whole: bool = False

    def believes(self, fit: Fit) -> bool:
        return fit.until is None or (self.waits is not None and self.waits[0] <= fit.until <= self.waits[1])


@dataclass(frozen=True, slots=True)
class Offer:
    """A fit on one GPU. Offers are compared by cost, then by position: node and UUID decide between equals."""

    cost: tuple[float, ...]
    position: int
    fit: Fit


def _in_order(offer: Offer) -> tuple[tuple[float, ...], int]:
    return offer.cost, offer.position


@dataclass(frozen=True, slots=True)
class _Content:
    slices: tuple[Slice, ...]
    held: int


class Fleet:
    def __init__(self, inventory: Inventory, policy: Policy) -> None:
        self._gpus = sorted(inventory.gpus, key=lambda gpu: (gpu.node, gpu.uuid))
        self._position = {gpu.uuid: position for position, gpu in enumerate(self._gpus)}
        self._on_node: dict[NodeName, list[int]] = {}
        for position, gpu in enumerate(self._gpus):
            self._on_node.setdefault(gpu.node, []).append(position)
        self._models: dict[GpuModel, int] = {}
        for gpu in sorted(self._gpus, key=lambda gpu: (gpu.model.name, gpu.uuid)):
            self._models.setdefault(gpu.model, len(self._models))
        self._flexibility = {model: Flexibility(model, policy.demand) for model in self._models}
        self.policy = policy
        self._whole = Counter[GpuModel]()
        self._unused = Counter[GpuModel]()
        self._states: dict[Key, GpuState] = {}
        self._fits: dict[tuple[Tier, ProfileName], Ranking[Fit]] = {}
        self._clearings: dict[ProfileName, Ranking[Clearing]] = {}
        self._content = [_Content(gpu.slices, 0) for gpu in self._gpus]
        self._of_model: dict[GpuModel, list[int]] = {model: [] for model in self._models}
        for position, gpu in enumerate(self._gpus):
            self._of_model[gpu.model].append(position)
        self._outlines = [self._outline(position) for position in range(len(self._gpus))]
        self._fine_states: list[GpuState | None] = [None] * len(self._gpus)  # made when somebody asks
        self._coarse, self._fine = Arrangement(), Arrangement()
        for model, positions in self._of_model.items():
            self._coarse.arrange(model, ((position, self._outlines[position]) for position in positions))
        for outline in self._outlines:
            self._whole[outline.model] += outline.is_whole
            self._unused[outline.model] += outline.unused_units
        self._undo: list[tuple[int, _Content]] = []

    def __len__(self) -> int:
        return len(self._gpus)

    # -- what stands where ------------------------------------------------------------------------------------------

    def gpu(self, position: int) -> Gpu:
        return self._gpus[position]

    def slices(self, position: int) -> tuple[Slice, ...]:
        return self._content[position].slices

    def state(self, position: int) -> GpuState:
        state = self._fine_states[position]
        if state is None:
            gpu, content = self._gpus[position], self._content[position]
            key = (self._models[gpu.model], gpu.static, content.held, items_of(content.slices))
            state = self._fine_states[position] = self._shared(key, gpu.model)
        return state

    def states(self) -> Iterator[GpuState]:
        """Every state that some GPU is in."""
        return self._finely(self._models).states()

    def members(self, state: GpuState) -> Collection[int]:
        """The positions of the GPUs in that state."""
        return self._fine.members(state)

    def busy_on(self, position: int, place: Place) -> Busy:
        for each in self._content[position].slices:
            if each.place.index == place.index and isinstance(each.use, Busy):
                return each.use
        raise AssertionError(f"{self._gpus[position].uuid} has no pod on {place}")

    def worth_of(self, position: int, place: Place) -> float:
        """What destroying a slice loses: nothing unless it is idle."""
        for each in self._content[position].slices:
            if each.place.index == place.index and isinstance(each.use, Idle):
                return each.use.worth_s
        return 0.0

    def eligible_positions(self, wish: Wish) -> Iterator[int]:
        """Where the pod can run and the GPU has the profile, in order."""
        models = {*self.models_of(wish.name)}
        return (position for position in self._positions_on(wish.nodes) if self._gpus[position].model in models)

    def _positions_on(self, nodes: frozenset[NodeName] | None) -> Sequence[int]:
        if nodes is None:
            return range(len(self._gpus))
        return sorted(position for node in nodes for position in self._on_node.get(node, ()))

    def unused_units(self, model: GpuModel) -> int:
        """Memory units without a pod on them, free or idle, on all GPUs of that model."""
        return self._unused[model]

    def models_of(self, name: ProfileName) -> list[GpuModel]:
        return [model for model in self._models if model.has(name)]

    def name_here(self, name: ProfileName) -> ProfileName:
        """What the GPUs here call that profile: by its own name, or as another driver rounds it, if that is plain."""
        if any(model.has(name) for model in self._models):
            return name
        resolved = {near.name for model in self._models if (near := model.resolve(name))}
        return resolved.pop() if len(resolved) == 1 else name

    def profiles(self) -> list[ProfileName]:
        return sorted({profile.name for model in self._models for profile in model.profiles})

    # -- the best place ---------------------------------------------------------------------------------------------

    def best(self, wish: Wish) -> Offer | None:
        singly, ranked = self._looked_at_singly(wish)
        offers = (offer for position in singly if (offer := self._offer(wish, position)))
        best = min(offers, key=_in_order, default=None)
        for tier in Tier if ranked else ():
            if best and best.cost[0] < tier:
                break
            first = self._first_offer(wish, tier, singly)
            if first:
                return min(first, best, key=_in_order) if best else first
        return best

    def spared(self, wish: Wish, state: GpuState) -> bool:
        return wish.spares_whole and state.is_whole and self._whole[state.model] <= self.policy.reserve_whole

    def _looked_at_singly(self, wish: Wish) -> tuple[set[int], bool]:
        """The GPUs that no ranking can answer for, and whether there are others."""
        singly = {*wish.closed}
        for node in wish.starts.on_node:
            singly.update(self._on_node.get(node, ()))
        if wish.nodes is None:
            return singly, True
        if len(wish.nodes) <= _FEW_NODES:
            return set(self._positions_on(wish.nodes)), False
        return {position for position in singly if self.eligible(wish, position)}, True

    def _first_offer(self, wish: Wish, tier: Tier, singly: set[int]) -> Offer | None:
        best: Offer | None = None
        arrangement = self._fine if tier is Tier.MERGE_OR_WAIT else self._coarse
        for state, fit in self.fits(tier, wish.name):
            if best and fit.cost > best.fit.cost:
                break
            if not wish.believes(fit) or self.spared(wish, state):
                continue
            for position in arrangement.members(state):
                if position not in singly and self.eligible(wish, position):
                    if best is None or position < best.position:
                        best = self._priced(wish, position, fit)
                    break
        return best

    def _offer(self, wish: Wish, position: int) -> Offer | None:
        state = self.state(position)
        if self.spared(wish, state):
            return None
        closed = wish.closed.get(position, 0)
        offered = fits(self._with_held(state, closed) if closed else state, wish.name)
        return next((self._priced(wish, position, fit) for fit in offered if wish.believes(fit)), None)

    def fits_unheld(self, position: int, wish: Wish) -> bool:
        """Whether the GPU would do if nothing on it were held."""
        gpu, content = self._gpus[position], self._content[position]
        key = (self._models[gpu.model], gpu.static, 0, items_of(content.slices))
        offered = fits(self._shared(key, gpu.model), wish.name)
        return self.eligible(wish, position) and any(wish.believes(fit) for fit in offered)

    def _priced(self, wish: Wish, position: int, fit: Fit) -> Offer:
        rank, seconds, *rest = fit.cost
        return Offer((rank, seconds + wish.starts.whole_seconds(self._gpus[position].node), *rest), position, fit)

    def eligible(self, wish: Wish, position: int) -> bool:
        return wish.nodes is None or self._gpus[position].node in wish.nodes

    def fits(self, tier: Tier, name: ProfileName) -> Ranking[Fit]:
        if (tier, name) not in self._fits:
            models = self.models_of(name)
            arrangement = self._finely(models) if tier is Tier.MERGE_OR_WAIT else self._coarse
            self._fits[tier, name] = arrangement.keep(by_fit(tier, name), models)
        return self._fits[tier, name]

    def clearings(self, name: ProfileName) -> Ranking[Clearing]:
        if name not in self._clearings:
            models = self.models_of(name)
            self._clearings[name] = self._finely(models).keep(by_clearing(name), models)
        return self._clearings[name]

    def _finely(self, models: Iterable[GpuModel]) -> Arrangement:
        for model in models:
            if model not in self._fine:
                self._fine.arrange(model, ((position, self.state(position)) for position in self._of_model[model]))
        return self._fine

    # -- changes ----------------------------------------------------------------------------------------------------

    def replace(self, gpu: Gpu) -> None:
        """A new observation of a GPU that is in the fleet; its model and node do not change."""
        position = self._position[gpu.uuid]
        assert (gpu.model, gpu.node) == (self._gpus[position].model, self._gpus[position].node)
        self._gpus[position] = gpu
        self._set(position, _Content(gpu.slices, 0))
        self._forget_states()

    def assign(self, position: int, slices: tuple[Slice, ...], held: int = 0) -> None:
        """What a GPU would hold after a step of the plan in the making; `held` is added to what is held already."""
        old = self._content[position]
        self._undo.append((position, old))
        self._set(position, _Content(slices, old.held | held))

    def where(self, gpu: GpuUuid) -> int | None:
        """The GPU's position; None: it is not in the fleet."""
        return self._position.get(gpu)

    def release(self, position: int, held: int) -> None:
        """Takes back what a step of this plan has held there."""
        old = self._content[position]
        self._undo.append((position, old))
        self._set(position, _Content(old.slices, old.held & ~held))

    def wind_back(self) -> None:
        """Undo every `assign`."""
        while self._undo:
            self._set(*self._undo.pop())
        self._forget_states()

    def _forget_states(self) -> None:
        """Those that no GPU is in, once they are the most: worths and times change, and no state may come back."""
        if len(self._states) > 2 * len(self._gpus) + _SPARE_STATES:
            kept = (*self._outlines, *(state for state in self._fine_states if state))
            self._states = {state.key: state for state in kept}

    def _set(self, position: int, content: _Content) -> None:
        model = self._gpus[position].model
        was = self.state(position) if model in self._fine else None
        old = self._outlines[position]
        self._content[position] = content
        self._fine_states[position] = None
        new = self._outlines[position] = self._outline(position)
        self._coarse.move(position, old, new)
        if was:
            self._fine.move(position, was, self.state(position))
        self._whole[model] += new.is_whole - old.is_whole
        self._unused[model] += new.unused_units - old.unused_units

    def _outline(self, position: int) -> GpuState:
        gpu, content = self._gpus[position], self._content[position]
        lasting, items = outline_of(content.slices)
        return self._shared((self._models[gpu.model], gpu.static, content.held | lasting, items), gpu.model)

    def _with_held(self, state: GpuState, held: int) -> GpuState:
        model, static, already, items = state.key
        return self._shared((model, static, already | held, items), state.model)

    def _shared(self, key: Key, model: GpuModel) -> GpuState:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = GpuState(key, model, self._flexibility[model])
        return state
