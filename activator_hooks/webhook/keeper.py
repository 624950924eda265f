"""Keeps the webhooks' certificates: one pass every few seconds over the shared Secret and the webhook configurations.

`run` is a thread of each replica. All do the same, and nobody leads: whoever finds something to be renewed writes the
Secret under the version that was read, and the others find it there. The subtle thing is two replicas of which one has
read the Secret before the other wrote it: before a bundle is written into a configuration the Secret is read again, so
that an old bundle does not take a new one's place.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Final

from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.adapters import certificates
from knative_mig.adapters.certificates import AUTHORITIES, FILES, SERVER, SERVER_KEY
from knative_mig.core.admission.renewal import Step, next_step
from knative_mig.core.errors import BadInput
from knative_mig.ports.kube import ClusterError, Conflict
from knative_mig.ports.webhook import CertificateStore, StoredCertificates, WebhookConfigurations

_log = logging.getLogger(__name__)
_TRIES: Final = 3


class Keeper:
    def __init__(
        self,
        *,
        store: CertificateStore,
        configurations: WebhookConfigurations,
        identify: Callable[[bytes, bytes], None],
        names: Sequence[str],
        wall: Callable[[], float],
        metrics: WebhookMetrics,
        every_s: float,
    ) -> None:
        self._store = store
        self._configurations = configurations
        self._identify = identify
        self._names = names
        self._wall = wall
        self._metrics = metrics
        self._every_s = every_s
        self._serving = b""
        self.trouble = "the certificates have not been looked at yet"  # empty: the last pass went well

    @property
    def unready(self) -> str:
        """Whoever has a certificate serves with it, whatever the API server does."""
        return "" if self._serving else self.trouble

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            trouble = ""
            try:
                self.look()
            except (ClusterError, BadInput) as error:
                trouble = str(error)
                if trouble != self.trouble:
                    _log.warning("The certificates cannot be kept: %s", trouble)
            self.trouble = trouble
            stop.wait(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311 - replicas need not look at once

    def look(self) -> None:
        """One pass. ClusterError and BadInput: it is to be tried again."""
        stored = self._kept()
        if not self._serving or self._serving != stored.files[SERVER]:
            self._identify(stored.files[SERVER], stored.files[SERVER_KEY])
            self._serving = stored.files[SERVER]
            self._show(stored)
        for name in self._configurations.distrusting(stored.files[AUTHORITIES]):
            stored = self._kept()
            self._configurations.trust(name, stored.files[AUTHORITIES])
            self._metrics.repaired.inc()
            _log.info("%s has our authorities now", name)

    def _kept(self) -> StoredCertificates:
        """The Secret as it is when nothing is left to be renewed. Conflict: others write faster than we read."""
        for _ in range(_TRIES):
            stored = self._store.load()
            now = self._wall()
            files = {name: stored.files[name] for name in FILES if name in stored.files}
            made = 0
            while (step := next_step(certificates.held(files, self._names), now)) is not Step.KEEP:
                files = dict(certificates.after(step, files, self._names, now))
                made += 1
            if not made:
                return stored
            try:
                stored = self._store.save(files, replaces=stored)
            except Conflict:
                _log.info("Another replica wrote the certificates at the same time: looking at its")
                continue
            self._metrics.made.inc(made)
            _log.info("Made %d certificates for %s", made, self._names[0])
            return stored
        raise Conflict("the Secret changed under each of our writes")

    def _show(self, stored: StoredCertificates) -> None:
        held = certificates.held(stored.files, self._names)
        self._metrics.until.set(held.server_until if held else 0)
