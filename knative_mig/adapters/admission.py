"""Answers AdmissionReviews: which of the decisions each is about, asked of `ports.webhook.Decides`.

Called by `webhook_server`'s threads with the path that the API server posted to. The subtle thing is the default, which
is yes: what cannot be read as the object it should be, and whatever we were asked about by mistake, is for Kubernetes
to judge, so that a rule of ours that is too wide stops nobody.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from knative_mig.adapters import admission_review as reviews
from knative_mig.adapters.admission_review import Operation, Review, Verdict
from knative_mig.adapters.kube import parse_admitted
from knative_mig.core.errors import BadInput
from knative_mig.ports.webhook import Decides

_log = logging.getLogger(__name__)
_FUNCTIONS: Final = "services.serving.knative.dev"
_PODS: Final = "pods"
_WRITES: Final = (Operation.CREATE, Operation.UPDATE)


class Webhook(StrEnum):
    """The paths."""

    MUTATE = "/mutate"
    VALIDATE = "/validate"


class Outcome(StrEnum):
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    REFUSED = "refused"
    UNREADABLE = "unreadable"  # let in as it is
    MALFORMED = "malformed"  # no review at all
    FAILED = "failed"  # a fault of ours


class Admission:
    def __init__(self, decides: Decides, count: Callable[[Webhook, Outcome], None]) -> None:
        self._decides = decides
        self._count = count

    def answer(self, webhook: Webhook, body: bytes) -> bytes:
        """BadInput: it is no AdmissionReview."""
        try:
            review = reviews.read(body)
        except BadInput:
            self._count(webhook, Outcome.MALFORMED)
            raise
        try:
            verdict = self._verdict(webhook, review)
            refused = Outcome.REFUSED if verdict.refusal else Outcome.UNCHANGED
            self._count(webhook, Outcome.CHANGED if verdict.patch else refused)
        except BadInput as bad:
            _log.info("%s of %s is let in unread: %s", review.operation, review.resource, bad)
            self._count(webhook, Outcome.UNREADABLE)
            verdict = Verdict()
        except Exception:
            self._count(webhook, Outcome.FAILED)
            raise
        return reviews.written(review.uid, verdict)

    def _verdict(self, webhook: Webhook, review: Review) -> Verdict:
        if review.object is None or review.operation not in _WRITES:
            return Verdict()
        if review.resource == _FUNCTIONS:
            new = parse_admitted.function(review.object)
            old = parse_admitted.function(review.old) if review.old else None
            if webhook is Webhook.VALIDATE:
                judged = self._decides.judge(new, old)
                return Verdict(refusal="; ".join(judged.refusals), warnings=judged.warnings)
            choice = self._decides.choose(new, old)
            warnings = (choice.warning,) if choice.warning else ()
            return Verdict(patch=reviews.of_settings(review.object, choice.edits), warnings=warnings)
        if review.resource == _PODS and webhook is Webhook.MUTATE and review.operation is Operation.CREATE:
            new_pod = parse_admitted.new_pod(review.object, review.namespace)
            added = self._decides.add(new_pod, dry_run=review.dry_run)
            return Verdict(patch=reviews.of_additions(review.object, added))
        return Verdict()
