"""Which request is about what: a path and a method become the kind, the object, what is below it and the verb.

Called by `service` for each request of /api/v1 and /apis/GROUP/VERSION. A path that is not served, and a method that it
does not take, is refused with its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from knative_mig.dev.api.kinds import VERBS_BELOW, Kind, Kinds
from knative_mig.dev.api.refusals import bad_request, method_not_allowed, no_such_path
from knative_mig.dev.api.store import Key
from knative_mig.dev.http.messages import Request

_OF_ONE: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_ALL: Final = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OF_BELOW: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create"}

USER: Final = "dev"  # who has no account's token
_ACCOUNT: Final = "system:serviceaccount:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    below: str = ""  # the subresource
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def key(self) -> Key:
        return Key(self.kind.place, self.namespace, self.name)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "")

    @property
    def user(self) -> Mapping[str, Any]:
        """As reviews name it. A token here is no more than a name: whoever reaches the port may do everything."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.startswith(_ACCOUNT):
            return {"username": USER, "groups": ["system:masters", "system:authenticated"]}
        namespace = token.removeprefix(_ACCOUNT).partition(":")[0]
        accounts = "system:serviceaccounts"
        return {"username": token, "groups": [accounts, f"{accounts}:{namespace}", "system:authenticated"]}

    @property
    def manager(self) -> str:
        """Who writes, as managedFields tells it: what it calls itself, else its program."""
        return (self.query.get("fieldManager") or self.headers.get("user-agent", "").partition("/")[0] or "unknown")[
            :128
        ]

    @property
    def is_dry(self) -> bool:
        match self.query.get("dryRun", ""):
            case "":
                return False
            case "All":
                return True
            case other:
                raise bad_request(f'Invalid value: "{other}": dryRun is All or absent')

    @property
    def watches(self) -> bool:
        return self.verb == "list" and self.query.get("watch", "").lower() in ("1", "true")

    @property
    def where(self) -> str:
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{self.kind.root}{place}/{self.kind.plural}{f'/{self.name}' if self.name else ''}"


def split(target: str) -> tuple[str, Mapping[str, str]]:
    """The path and its query, of which the first of each name counts."""
    url = urlsplit(target)
    try:
        query = {
            key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True, max_num_fields=64).items()
        }
    except ValueError as error:
        raise bad_request(f"the query is none: {error}") from None
    return url.path, query


def asked(request: Request, kinds: Kinds) -> Asked:
    path, query = split(request.target)
    steps = [unquote(each) for each in path.strip("/").split("/")]
    if steps[0] == "api":
        group, version, rest = "", *_split_at(steps, 1, request)
    else:
        group = steps[1] if len(steps) > 1 else ""
        version, rest = _split_at(steps, 2, request)
    if not all(rest):
        raise no_such_path(request.method, path)
    namespace = ""
    of_namespace = group == "" and rest[2:] in (["status"], ["finalize"])
    if len(rest) > 2 and rest[0] == "namespaces" and not of_namespace:
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise no_such_path(request.method, path)
    name, below = (*rest[1:], "", "")[:2]
    if below and below not in kind.subresources:
        raise no_such_path(request.method, path)
    verb = request.method.lower() if below else (_OF_ONE if name else _OF_ALL).get(request.method, "")
    if below:
        verb = _OF_ONE.get(request.method, verb) if _OF_BELOW.get(request.method) in VERBS_BELOW[below] else ""
    if not verb or (not below and verb not in kind.verbs):
        raise method_not_allowed(request.method, path)
    if kind.namespaced and not namespace and verb not in ("list", "deletecollection"):
        raise method_not_allowed(request.method, path) if verb == "create" else no_such_path(request.method, path)
    if verb == "deletecollection" and kind.namespaced and not namespace:
        raise method_not_allowed(request.method, path)
    return Asked(
        verb=verb,
        kind=kind,
        namespace=namespace,
        name=name,
        below=below,
        query=query,
        headers=request.headers,
        body=request.body,
    )


def _split_at(steps: list[str], at: int, request: Request) -> tuple[str, list[str]]:
    if len(steps) < at + 2:
        raise no_such_path(request.method, split(request.target)[0])
    return steps[at], steps[at + 1 :]
