"""The webhooks of Knative Serving, from the bytes of an AdmissionReview to the bytes of its answer.

Hung into the API server by `whole.admission`, behind the project's own, so that the defaulting one fills in what these
have left open and the validating one sees what is to be kept. A status that a controller writes
passes by: it is nobody's mistake. A third one is asked about the ConfigMaps of Knative's own settings.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.adapters.kube.quantity import NO_QUANTITY, is_quantity
from knative_mig.dev import reviews
from knative_mig.dev.serving.objects import CONFIGURATION, ROUTE, SERVICE, Object
from knative_mig.dev.serving.settings import NAMESPACE, Settings
from knative_mig.dev.serving.webhook import config_checks
from knative_mig.dev.serving.webhook.checks import checked
from knative_mig.dev.serving.webhook.defaults import defaulted

_log = logging.getLogger(__name__)
DEFAULTING: Final = "webhook.serving.knative.dev"
VALIDATING: Final = "validation.webhook.serving.knative.dev"
CONFIG: Final = "config.webhook.serving.knative.dev"
RESOURCES: Final[Mapping[str, Kind]] = {
    f"{kind.plural}.serving.knative.dev": kind for kind in (SERVICE, CONFIGURATION, ROUTE, REVISION)
}
_BY_KIND: Final = {kind.kind: kind for kind in RESOURCES.values()}


class Webhooks:
    """`settings`: as they are at the time of each question."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings

    def default(self, review: bytes) -> bytes:
        request = reviews.request_of(review)
        kind, new = _BY_KIND.get(request["kind"]["kind"]), request.get("object")
        if kind is None or not new or request.get("subResource"):
            return reviews.let_in(request)
        user = (request.get("userInfo") or {}).get("username", "")
        try:
            if not all(map(is_quantity, _amounts(kind, new))):
                return reviews.refused(request, f"mutation failed: cannot decode incoming new object: {NO_QUANTITY}")
            found = defaulted(kind, new, request.get("oldObject"), self._settings(), user)
        except reviews.OF_ANOTHER_FORM as error:
            _log.info("nothing is filled in on %s %s: %s", kind.kind, new["metadata"].get("name", ""), error)
            return reviews.let_in(request)
        return reviews.filled_in(request, new, found)

    def validate(self, review: bytes) -> bytes:
        request = reviews.request_of(review)
        kind, new = _BY_KIND.get(request["kind"]["kind"]), request.get("object")
        if kind is None or not new or request.get("subResource") or new["metadata"].get("deletionTimestamp"):
            return reviews.let_in(request)
        problems = checked(kind, new, request.get("oldObject"), self._settings())
        return reviews.judged(request, problems.refusal(), problems.warnings())

    def validate_config(self, review: bytes) -> bytes:
        request = reviews.request_of(review)
        body = request.get("object") or {}
        return reviews.judged(request, config_checks.wrong(request["name"], body.get("data") or {}))


def _amounts(kind: Kind, body: Object) -> Iterator[Any]:
    """What its containers ask for, and what they may take."""
    spec = body.get("spec") or {}
    if kind is not REVISION:
        spec = (spec.get("template") or {}).get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        for amounts in (resources.get("limits") or {}, resources.get("requests") or {}):
            yield from (each for each in amounts.values() if each is not None)


def is_config(body: Object) -> bool:
    """Whether the third one is asked about this ConfigMap."""
    return bool(body["metadata"].get("namespace") == NAMESPACE)
