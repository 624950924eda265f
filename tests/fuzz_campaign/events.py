"""CloudEvents for the planner's door: valid ones in both modes, and changes that only an event can have."""

import base64
from collections.abc import Mapping
from random import Random
from typing import Any, Final
from urllib.parse import quote

from knative_mig.adapters.cloud_events import JSON, LARGEST, LONGEST, STRUCTURED
from knative_mig.core.events import MOST_AT_ONCE, OUTCOMES, PENDING
from tests.fuzz_campaign.draft import Change, Draft

PROFILES: Final = ("1g.5gb", "1g.5gb+me", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb", "1g.24gb+me.all", "1g.24gb-me")
NAMESPACES: Final = ("team", "shop", "a", "x" * 63, "0-1")
ODD: Final[Mapping[str, tuple[str, ...]]] = {
    "specversion": ("", "1", "0.3", "1.0.0", "2.0", " 1.0", "\uff11.0"),
    "id": ("", " ", "\x00", "a\nb", "x" * LONGEST, "x" * (LONGEST + 1), "é", "\ufdd0"),
    "source": ("", "a b", "http://[", "//", "%", "x" * (LONGEST + 1), "javascript:x"),
    "type": ("", "pending", PENDING.upper(), f"{PENDING} ", PENDING.replace("v1", "v2"), "x" * (LONGEST + 1),
             *OUTCOMES),
    "subject": ("", "/", "team", "team/", "/tiny", "team/tiny/x", "Team/tiny", "team/-a", "te_am/tiny",
                "a" * 64 + "/b", "team/é"),
    "time": ("", "now", "2026-13-01T00:00:00Z", "2026-01-31", "2026-01-31T12:00:00", "0000-01-01T00:00:00Z",
             "9999-12-31T23:59:60Z",
             "2026-01-31T12:00:00.1234567890Z", "2026-01-31T12:00:00+99:99", "2026-02-30T12:00:00Z",
             "\uff12026-01-31T12:00:00Z"),
    "migprofile": ("", "3g", "0g.5gb", "3g.20gb ", "3G.20GB", "3g.20gb+x", "9" * 5000 + "g.1gb", "x" * 33,
                   "nvidia.com/mig-3g.20gb"),
    "count": ("", "0", "-1", "+1", "1.0", "1e1", "\uff11", " 1", "00000", str(MOST_AT_ONCE + 1), "9" * 5000, "true"),
    "revisionuid": ("", " ", "\x00", "x" * (LONGEST + 1)),
    "traceparent": ("", "00", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "x" * LONGEST, "é"),
}  # fmt: skip


def valid(chance: Random, number: str) -> tuple[str, Draft]:
    """`number`: of the request, so that no two have one id."""
    revision, profile, count = f"fn-{chance.randrange(400):05}", chance.choice(PROFILES), chance.randrange(1, 9)
    uid = f"{chance.getrandbits(128):032x}"
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{uid}/{chance.randrange(99)}/{profile}/{count}/{number}",
        "source": f"/apis/serving.knative.dev/v1/namespaces/team/revisions/{revision}",
        "type": PENDING,
        "subject": f"{chance.choice(NAMESPACES)}/{revision}",
        "migprofile": profile,
        "count": str(count),
        "revisionuid": uid,
        "traceparent": f"00-{uid}-{chance.getrandbits(64):016x}-01",
    }
    if chance.random() < 0.7:
        attributes["time"] = f"2026-{chance.randrange(1, 13):02}-28T12:00:00{chance.choice(('Z', '.5Z', '+02:00'))}"
    if chance.random() < 0.2:
        attributes["cluster"] = chance.choice(("west", "é 🙂", "a%b", "x" * LONGEST))
    data = chance.choice(
        (None, {}, {"cause": "NoSlice"}, {"cause": "QuotaExceeded", "message": "é" * 50, "n": [1, 2.5, None]})
    )
    if chance.random() < 0.5:
        return "a structured event", _structured(attributes, data, chance)
    return "a binary event", _binary(attributes, data)


def ignored(chance: Random, number: str) -> tuple[str, Draft]:
    """Of a type that is nothing to the planner."""
    _, draft = valid(chance, number)
    other = chance.choice((*OUTCOMES, "com.example.order", "é"))
    if draft.tree and "specversion" in draft.tree:
        draft.tree["type"] = other
    else:
        draft.set(b"ce-type", quote(other).encode())
    return "an event of another type", draft


def largest(chance: Random, number: str) -> tuple[str, Draft]:
    _, draft = valid(chance, number)
    draft = _structured(_attributes(draft), {"fill": ""}, chance)
    draft.tree["data"]["fill"] = "x" * (LARGEST - len(draft.body))
    return "the largest event", draft


def _binary(attributes: Mapping[str, Any], data: Any) -> Draft:
    headers = [(f"ce-{name}".encode(), quote(str(value), safe="/:+ -.").encode()) for name, value in attributes.items()]
    if data is not None:
        headers.append((b"Content-Type", JSON.encode()))
    return Draft(headers=[(b"Host", b"planner.knative-mig.svc"), *headers], tree=data)


def _structured(attributes: Mapping[str, Any], data: Any, chance: Random) -> Draft:
    tree = dict(attributes)
    tree["count"] = chance.choice((int(tree["count"]), str(tree["count"])))
    if data is not None:
        tree["data"] = data
    if chance.random() < 0.3:
        tree["datacontenttype"] = JSON
    kind = chance.choice((STRUCTURED, f"{STRUCTURED}; charset=utf-8", f'{STRUCTURED}; charset="UTF-8"'))
    return Draft(headers=[(b"Host", b"planner.knative-mig.svc"), (b"Content-Type", kind.encode())], tree=tree)


def _attributes(draft: Draft) -> dict[str, Any]:
    """As a structured event has them."""
    if draft.tree and "specversion" in draft.tree:
        return {name: value for name, value in draft.tree.items() if name not in ("data", "datacontenttype")}
    found = ((name.decode(), value.decode()) for name, value in draft.headers)
    return {name[3:]: value.replace("%", "") for name, value in found if name.startswith("ce-")}


# -- changes -----------------------------------------------------------------------------------------------------------


def is_structured(draft: Draft) -> bool:
    return any(name.lower() == b"content-type" and b"cloudevents" in value for name, value in draft.headers)


def _odd_attribute(draft: Draft, chance: Random) -> None:
    name = chance.choice(tuple(ODD))
    text = chance.choice(ODD[name])
    if is_structured(draft) and isinstance(draft.tree, dict):
        draft.tree[name] = text
    else:
        draft.set(f"ce-{name}".encode(), quote(text).encode())


def _missing_attribute(draft: Draft, chance: Random) -> None:
    name = chance.choice(tuple(ODD))
    if isinstance(draft.tree, dict):
        draft.tree.pop(name, None)
    draft.set(f"ce-{name}".encode(), None)


def _odd_name(draft: Draft, chance: Random) -> None:
    name = chance.choice(
        ("Upper", "a-b", "a_b", "data", "é", "", "x" * 65, "data_base64", "datacontenttype", "dataschema")
    )
    if is_structured(draft) and isinstance(draft.tree, dict):
        draft.tree[name] = chance.choice(
            ("x", "text/plain", base64.b64encode(b"{}").decode(), "http://x", 1, True, None)
        )
    else:
        draft.set(f"ce-{name}".encode(), b"x")


def _both_modes(draft: Draft, chance: Random) -> None:
    """Headers of the one and the content type of the other."""
    if is_structured(draft):
        kind = chance.choice((JSON.encode(), None))
        draft.set(b"Content-Type", kind)
    else:
        draft.set(b"Content-Type", STRUCTURED.encode())


def _batch(draft: Draft, chance: Random) -> None:
    draft.set(b"Content-Type", chance.choice((b"application/cloudevents-batch+json", STRUCTURED.encode())))
    draft.tree = [draft.tree] * chance.randrange(3)


def _too_big(draft: Draft, chance: Random) -> None:
    over = chance.choice((1, 1000, LARGEST * 3))
    draft.raw = draft.body + b" " * (LARGEST + over - len(draft.body))


EVENT_CHANGES: Final[Mapping[str, Change]] = {
    "an attribute is odd": _odd_attribute,
    "an attribute is missing": _missing_attribute,
    "an attribute's name is odd": _odd_name,
    "both modes": _both_modes,
    "a batch": _batch,
    "too big": _too_big,
}
