"""Decides what the floor's annotations on a Revision are to be, and what has to be remembered to restore them.

Called by the planner's leader for each Revision that somebody asks something for, or that it has written on; decision
record 0008. The user's values are bounds: a floor is never below the user's min-scale nor above the user's max-scale,
a ceiling, a target, an initial scale and a window are never above the user's. One exception: Knative takes a Revision
for Ready with as many pods as the greater of its initial and its min-scale, so who asks for a lower initial scale has
the min-scale lowered with it.

The subtle thing is who wrote what stands there. What our field manager owns is ours. What it does not own although we
wrote it is somebody else's edit: it is the user's value from then on, and stays untouched for as long as only those
requests are left that stood at the time. Two writers that each put right what the other wrote would never end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from knative_mig.core.durations import seconds
from knative_mig.core.errors import BadInput
from knative_mig.core.floor.values import MANAGER, Held, Record, Request, Revision, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """`record` is to be stored before `write` is written (None removes the annotation)."""

    record: Record
    write: Mapping[Setting, str | None]
    reasons: tuple[str, ...] = ()
    unheard: str = ""  # why a floor that stands may have no effect


def live(requests: Iterable[Request], now: float) -> list[Request]:
    return [each for each in requests if each.until > now]


def next_expiry(requests: Iterable[Request], now: float) -> float:
    """Of those that still count; infinite if there is none."""
    return min((each.until for each in requests if each.until > now), default=inf)


def assigned(requests: Iterable[Request], revisions: Iterable[Revision]) -> dict[str, list[Request]]:
    """By the Revision's UID. What is asked for a Service follows it to its new Revision once that is Ready; a Revision
    that is going takes no more.
    """
    by_name: dict[tuple[str, str], Revision] = {}
    newest: dict[tuple[str, str], Revision] = {}
    for each in revisions:
        if each.ending:
            continue
        by_name[each.namespace, each.name] = each
        key = (each.namespace, each.service)
        if each.service and (key not in newest or _age(newest[key]) < _age(each)):
            newest[key] = each
    found: dict[str, list[Request]] = {}
    for request in requests:
        revision = (
            by_name.get((request.namespace, request.revision))
            if request.revision
            else newest.get((request.namespace, request.service))
        )
        if revision:
            found.setdefault(revision.uid, []).append(request)
    return found


def _age(revision: Revision) -> tuple[bool, int, str]:
    return revision.ready, revision.generation, revision.name


def settle(revision: Revision, record: Record, requests: Iterable[Request]) -> Settled:
    """`requests`: those that are live and this Revision's. Pure: the same twice is the same, and nothing to write."""
    asked: dict[Setting, list[Request]] = {setting: [] for setting in Setting}
    for request in requests:
        asked[request.setting].append(request)
    seen = {setting: _seen(setting, revision, record.get(setting), asked[setting]) for setting in Setting}
    in_force = {
        setting: [each for each in asked[setting] if each.id not in seen[setting].overruled] for setting in Setting
    }
    users = {setting: held.users for setting, held in seen.items()}
    try:
        wanted = _wanted(users, in_force)
    except ValueError:
        wanted = users
        in_force = {setting: [] for setting in Setting}
    new: dict[Setting, Held] = {}
    write: dict[Setting, str | None] = {}
    for setting, want in wanted.items():
        stands, held = revision.values.get(setting), seen[setting]
        if stands != want:
            write[setting] = want
            new[setting] = Held(users=held.users, wrote=want, overruled=held.overruled)
        elif want != held.users or held.overruled:
            new[setting] = Held(users=held.users, wrote=want, done=True, overruled=held.overruled)
    return Settled(
        record=new,
        write=write,
        reasons=tuple(_reasons(wanted, users, in_force)),
        unheard=_unheard(revision, wanted, users),
    )


def _seen(setting: Setting, revision: Revision, held: Held | None, asked: list[Request]) -> Held:
    """What the user's value is, and who was overruled by whoever wrote last."""
    stands = revision.values.get(setting)
    if held is None:
        return Held(users=stands, wrote=stands)
    overruled = held.overruled & {each.id for each in asked}
    unwritten = not held.done and stands == held.users
    if stands == held.wrote == held.users or unwritten or _is_ours(setting, revision, held):
        return Held(users=held.users, wrote=held.wrote, overruled=overruled)
    return Held(users=stands, wrote=stands, overruled=frozenset(each.id for each in asked))


def _is_ours(setting: Setting, revision: Revision, held: Held) -> bool:
    if revision.owners is None:  # whoever serves this API keeps no managed fields: the value has to do
        return revision.values.get(setting) == held.wrote
    return revision.owners.get(setting, frozenset()) == {MANAGER}


def _wanted(users: Mapping[Setting, str | None], asked: Mapping[Setting, list[Request]]) -> dict[Setting, str | None]:
    """ValueError: the user's values are not numbers."""
    least = int(users[Setting.MIN] or 0)
    most = int(users[Setting.MAX] or 0) or inf
    target = float(users[Setting.TARGET] or inf)
    ceiling = max(least, 1, min([most, *(each.value for each in asked[Setting.MAX])]))
    floor = max(least, min(ceiling, max([least, *(each.value for each in asked[Setting.MIN])])))
    aim = min([target, *(each.value for each in asked[Setting.TARGET])])
    initial = inf if users[Setting.INITIAL] is None else int(users[Setting.INITIAL] or 0)
    enough = min((each.value for each in asked[Setting.INITIAL]), default=inf)
    floor = min(floor, enough)
    has = users[Setting.WINDOW]
    window = inf if has is None else seconds(has)
    shortest = min([window, *(each.value for each in asked[Setting.WINDOW])])
    return {
        Setting.MIN: users[Setting.MIN] if floor == least else f"{int(floor)}",
        Setting.MAX: users[Setting.MAX] if ceiling == most else f"{int(ceiling)}",
        Setting.TARGET: users[Setting.TARGET] if aim == target else f"{aim:g}",
        Setting.INITIAL: users[Setting.INITIAL] if initial <= enough else f"{int(enough)}",
        Setting.WINDOW: users[Setting.WINDOW] if shortest == window else f"{int(shortest)}s",
    }


def _reasons(
    wanted: Mapping[Setting, str | None],
    users: Mapping[Setting, str | None],
    in_force: Mapping[Setting, list[Request]],
) -> Iterable[str]:
    for setting, requests in in_force.items():
        for each in requests:
            if wanted[setting] == users[setting]:
                why = f"{users[setting] or 'none'}, as the user has it, is as much as may be"
            else:
                why = f"{wanted[setting]} instead of {users[setting] or 'none'}"
            yield f"{setting} is {why}: {each.component}/{each.name} asks for {each.value:g} ({each.reason})"


def _unheard(revision: Revision, wanted: Mapping[Setting, str | None], users: Mapping[Setting, str | None]) -> str:
    """Until the autoscaler has a number of its own (it was restarted, or the function never ran), it looks at no floor.
    With target-burst-capacity -1 it has one after its first tick.
    """
    stands, least = wanted[Setting.MIN], users[Setting.MIN]
    raised = stands != least and int(stands or 0) > int(least or 0)
    if not raised or revision.desired is not None or revision.burst == "-1":
        return ""
    return (
        "the autoscaler does not know yet how many pods it wants, and looks at no min-scale until a request comes; "
        'with autoscaling.knative.dev/target-burst-capacity: "-1" it would'
    )


def room(revision: Revision, record: Record) -> float:
    """How many replicas the user allows at most."""
    held = record.get(Setting.MAX)
    users = held.users if held else revision.values.get(Setting.MAX)
    try:
        return int(users or 0) or inf
    except ValueError:
        raise BadInput(f"{revision.function}: max-scale is {users!r}, legal is a whole number") from None
