"""GPUs grouped by state, and what states offer ranked by profile; `Fleet` keeps two, one coarse and one fine.

Coarse: what is busy as one mask, and where idle slices are. That is all it takes to reuse or create, and GPUs share few
such outlines. Fine: who may move, what idle slices are worth, when pods end. Nearly every GPU has a state of its own
then, so it is arranged only for the models that somebody must merge, wait or move on.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator

from knative_mig.core.geometry import GpuModel
from knative_mig.core.planner.gpu_state import GpuState
from knative_mig.core.planner.offers import Clearing, Fit
from knative_mig.core.planner.ranking import Ranked, Ranking


class Arrangement:
    def __init__(self) -> None:
        self._members: dict[GpuModel, dict[GpuState, list[int]]] = {}
        self._rankings: dict[GpuModel, list[Ranking[Fit] | Ranking[Clearing]]] = {}

    def arrange(self, model: GpuModel, states: Iterable[tuple[int, GpuState]]) -> None:
        """All GPUs of a model, by position in rising order."""
        members = self._members[model] = {}
        self._rankings[model] = []
        for position, state in states:
            members.setdefault(state, []).append(position)

    def __contains__(self, model: GpuModel) -> bool:
        return model in self._members

    def states(self) -> Iterator[GpuState]:
        return (state for members in self._members.values() for state in members)

    def members(self, state: GpuState) -> Collection[int]:
        return self._members[state.model][state]

    def keep(self, ranking: Ranking[Ranked], models: Iterable[GpuModel]) -> Ranking[Ranked]:
        """Fill the ranking with the states of these models, and keep it right from now on."""
        ranking.fill(state for model in models for state in self._members[model])
        for model in models:
            self._rankings[model].append(ranking)
        return ranking

    def move(self, position: int, old: GpuState, new: GpuState) -> None:
        if old is new:
            return
        members, rankings = self._members[old.model], self._rankings[old.model]
        del members[old][bisect_left(members[old], position)]
        if not members[old]:
            del members[old]
            for ranking in rankings:
                ranking.remove(old)
        if new in members:
            insort(members[new], position)
        else:
            members[new] = [position]
            for ranking in rankings:
                ranking.add(new)
