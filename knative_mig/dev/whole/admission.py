"""Who is asked before a write is kept: the webhooks that the API's own configurations name, then Knative's stand-ins.

Made by `cluster` and asked at each write, with the configurations as they are in the store then: where they say Fail,
Ignore, 5 s or a condition, that is what is done. A webhook is called by its Service's name as a cluster calls it, and
found where `cluster` says that this Service is. The order is a cluster's: that of the configurations' names, mutating
ones first, so that Knative's fill in what ours left open.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from knative_mig.adapters.webhook_call import WebhookCaller, WebhookFailed
from knative_mig.dev.api import cel
from knative_mig.dev.api.admission import Hook, OnFailure, Phase
from knative_mig.dev.api.selectors import of_selector
from knative_mig.dev.api.store import Key, Store
from knative_mig.dev.eventing import webhook as eventing
from knative_mig.dev.serving.webhook import admission as serving

Object = dict[str, Any]
_PHASES: Final = {
    Phase.MUTATE: "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    Phase.VALIDATE: "validatingwebhookconfigurations.admissionregistration.k8s.io",
}


class Admission:
    def __init__(self, store: Store, callers: Mapping[str, WebhookCaller], knative: serving.Webhooks) -> None:
        """`callers`: by NAMESPACE/NAME of the Service."""
        self._store, self._callers, self._knative = store, callers, knative
        self._made: tuple[tuple[int, ...], tuple[Hook, ...]] = (), ()

    def hooks(self) -> Sequence[Hook]:
        """Now. Any thread."""
        found = {phase: self._store.all(place)[0] for phase, place in _PHASES.items()}
        versions = tuple(each.version for all_ in found.values() for each in all_)
        if not self._made[1] or versions != self._made[0]:
            self._made = versions, tuple(self._hooks({phase: [e.body for e in all_] for phase, all_ in found.items()}))
        return self._made[1]

    def _hooks(self, configurations: Mapping[Phase, Sequence[Object]]) -> Iterator[Hook]:
        knative = {
            Phase.MUTATE: (
                (eventing.DEFAULTING, eventing.default, eventing.RESOURCES),
                (serving.DEFAULTING, self._knative.default, tuple(serving.RESOURCES)),
            ),
            Phase.VALIDATE: (
                (eventing.VALIDATING, eventing.validate, eventing.RESOURCES),
                (serving.VALIDATING, self._knative.validate, tuple(serving.RESOURCES)),
            ),
        }
        for phase, bodies in configurations.items():
            for body in bodies:
                for webhook in body.get("webhooks") or ():
                    yield self._of(phase, webhook)
            for name, ask, resources in knative[phase]:
                yield Hook(name=name, phase=phase, ask=ask, resources=resources)
        yield Hook(
            name=serving.CONFIG,
            phase=Phase.VALIDATE,
            ask=self._knative.validate_config,
            resources=("configmaps",),
            takes=serving.is_config,
        )

    def _of(self, phase: Phase, webhook: Object) -> Hook:
        rules = webhook.get("rules") or ()
        return Hook(
            name=webhook["name"],
            phase=phase,
            ask=self._asking(webhook),
            resources=tuple(resource for rule in rules for resource in _resources(rule)),
            operations=tuple({each: None for rule in rules for each in rule.get("operations") or ()}),
            on_failure=OnFailure(webhook.get("failurePolicy") or "Fail"),
            takes=self._taking(webhook),
        )

    def _asking(self, webhook: Object) -> Callable[[bytes], bytes]:
        to = webhook["clientConfig"]
        service = to.get("service") or {}
        caller = self._callers.get(f"{service.get('namespace')}/{service.get('name')}")
        authorities = base64.b64decode(to.get("caBundle") or "").decode(errors="replace")
        within_s = float(webhook.get("timeoutSeconds") or 10)

        def ask(review: bytes) -> bytes:
            if caller is None:
                raise WebhookFailed(f"{service or to.get('url')} is not reached from knative-mig dev")
            return caller.ask(service.get("path") or "/", review, authorities=authorities, within_s=within_s)

        return ask

    def _taking(self, webhook: Object) -> Callable[[Object], bool]:
        of_namespace, of_object = (
            of_selector(webhook.get("namespaceSelector")),
            of_selector(webhook.get("objectSelector")),
        )
        conditions = tuple(each["expression"] for each in webhook.get("matchConditions") or ())

        def takes(body: Object) -> bool:
            namespace = self._store.read(Key("namespaces", "", body["metadata"].get("namespace") or ""))
            return (
                of_object.takes(body)
                and (namespace is None or of_namespace.takes(namespace.body))
                and all(cel.holds(each, {"object": body}) for each in conditions)
            )

        return takes


def _resources(rule: Object) -> Iterator[str]:
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            yield f"{resource}.{group}" if group else resource
