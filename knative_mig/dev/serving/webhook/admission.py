"""The webhooks of Knative Serving, from the bytes of an AdmissionReview to the bytes of its answer.

Hung into the API server by `whole.admission`, behind the project's own, so that the defaulting one fills in what these
have left open and the validating one sees what is to be kept. A status that a controller writes
passes by: it is nobody's mistake. A third one is asked about the ConfigMaps of Knative's own settings.
"""

from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.dev import reviews
from knative_mig.dev.serving.objects import CONFIGURATION, ROUTE, SERVICE, Object
from knative_mig.dev.serving.settings import NAMESPACE, Settings
from knative_mig.dev.serving.webhook import config_checks
from knative_mig.dev.serving.webhook.checks import checked
from knative_mig.dev.serving.webhook.defaults import defaulted

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
        found = defaulted(kind, new, request.get("oldObject"), self._settings(), user)
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


def is_config(body: Object) -> bool:
    """Whether the third one is asked about this ConfigMap."""
    return bool(body["metadata"].get("namespace") == NAMESPACE)
