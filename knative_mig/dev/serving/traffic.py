"""Where a Route's traffic is to go: each target of its spec as a Revision that is ready, or why that cannot be.

Called by `routes`. The subtle thing is that one bad target stops all: a Route keeps the traffic that it has until every
Revision that it names can take its share.
"""

from dataclasses import dataclass

from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import CONFIGURATION, CONFIGURATION_LABEL, SERVICE_LABEL, Object, Seen
from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class BadTarget:
    """`has_failed`: it will not get right by waiting."""

    has_failed: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    revision: str
    percent: int
    tag: str = ""
    latest: bool = False


def targets_of(seen: Seen, route: Object) -> tuple[Target, ...] | BadTarget:
    """The first that is bad for now is told of, but for one that has failed: then the last of these."""
    found: list[Target] = []
    bad: BadTarget | None = None
    for each in objects.spec(route).get("traffic") or ():
        one = _target(seen, route, each)
        if isinstance(one, Target):
            _add(found, one)
        elif bad is None or one.has_failed:
            bad = one
    return bad or tuple(found)


def _add(found: list[Target], new: Target) -> None:
    """Two of the same Revision and tag are one."""
    for at, each in enumerate(found):
        if (each.tag, each.revision, each.latest) == (new.tag, new.revision, new.latest):
            found[at] = Target(
                revision=each.revision, percent=each.percent + new.percent, tag=each.tag, latest=each.latest
            )
            return
    found.append(new)


def _target(seen: Seen, route: Object, target: Object) -> Target | BadTarget:
    namespace = route["metadata"]["namespace"]
    name = target.get("revisionName", "")
    if not name:
        configuration_name = target.get("configurationName", "")
        configuration = seen.get(CONFIGURATION, Key(namespace, configuration_name))
        if configuration is None:
            return _missing("Configuration", configuration_name)
        name = objects.status(configuration).get("latestReadyRevisionName", "")
        if not name:
            return _without_revision(configuration)
    revision = seen.get(REVISION, Key(namespace, name))
    if revision is None:
        return _missing("Revision", name)
    if target.get("revisionName") and (bad := _of_another(route, revision)):
        return bad
    if not objects.is_ready(revision):
        failed = objects.condition(revision, "Ready").get("status") == "False"
        told = f'Revision "{name}" failed to become ready.' if failed else f'Revision "{name}" is not yet ready.'
        return BadTarget(has_failed=failed, reason="RevisionMissing", message=told)
    owner = objects.labels(revision).get(CONFIGURATION_LABEL)
    if target.get("revisionName") and owner is not None and seen.get(CONFIGURATION, Key(namespace, owner)) is None:
        return _missing("Configuration", owner)
    return Target(
        revision=name,
        percent=int(target.get("percent") or 0),
        tag=target.get("tag", ""),
        latest=bool(target.get("latestRevision")),
    )


def _missing(kind: str, name: str) -> BadTarget:
    told = f'{kind} "{name}" referenced in traffic not found.'
    return BadTarget(has_failed=True, reason=f"{kind}Missing", message=told)


def _without_revision(configuration: Object) -> BadTarget:
    name = configuration["metadata"]["name"]
    failed = objects.condition(configuration, "Ready").get("status") == "False"
    told = (
        f'Configuration "{name}" does not have any ready Revision.'
        if failed
        else f'Configuration "{name}" is waiting for a Revision to become ready.'
    )
    return BadTarget(has_failed=failed, reason="RevisionMissing", message=told)


def _of_another(route: Object, revision: Object) -> BadTarget | None:
    own = objects.labels(route).get(SERVICE_LABEL, "")
    its, name = objects.labels(revision).get(SERVICE_LABEL, ""), revision["metadata"]["name"]
    if not own or own == its:
        return None
    told = (
        f'Revision "{name}" belongs to Service "{its}", not Service "{own}".'
        if its
        else f'Revision "{name}" does not belong to Service "{own}".'
    )
    return BadTarget(has_failed=True, reason="RevisionNotOwned", message=told)
