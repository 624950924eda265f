"""Whether a Node may be as it is: its taints, for the scheduler passes over a node of which one cannot be read.

Called by `validation`. The subtle thing is the place that is told: a cluster names it below `metadata`, though taints
are the spec's. One that was let in by an older version is not judged again while its spec stays as it is.
"""

from collections.abc import Iterator
from typing import Any

from knative_mig.dev.api import names
from knative_mig.dev.api.causes import duplicate, required, unsupported
from knative_mig.dev.api.pod_checks import EFFECTS
from knative_mig.dev.api.refusals import Cause

Json = dict[str, Any]


def wrong(spec: Json, old: Json | None) -> Iterator[Cause]:
    if spec == old:
        return
    seen: list[tuple[str, str]] = []
    for n, each in enumerate(spec.get("taints") or ()):
        at, key, effect = f"metadata.taints[{n}]", each.get("key") or "", each.get("effect")
        yield from names.qualified(key, f"{at}.key")
        yield from names.label_value(each.get("value") or "", f"{at}.value")
        if effect == "":  # of one that is not there the schema tells
            yield required(f"{at}.effect")
        elif effect is not None and effect not in EFFECTS:
            yield unsupported(f"{at}.effect", effect, EFFECTS)
        if (key, effect or "") in seen:
            yield duplicate(at, each, "taints must be unique by key and effect pair")
        seen.append((key, effect or ""))
