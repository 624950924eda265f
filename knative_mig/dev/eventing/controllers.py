"""Keeps the Brokers' and Triggers' statuses as they should be, and tells the post whom there is to deliver to.

Made by `eventing`, which also makes the threads: one for each mirror, one for `run`. After any change all of them are
looked at: there are tens, and a status that is written twice is the same. The subtle thing is the order: the post knows
of a Trigger before its status says that it is ready, so that an event which is sent as soon as one reads that is
delivered.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import Kind
from knative_mig.adapters.kube.reflector import WATCH_S, KubeMirror
from knative_mig.dev.bodies import whole
from knative_mig.dev.eventing.objects import WATCHED, Object
from knative_mig.dev.eventing.post import Post
from knative_mig.dev.eventing.reconciling import decide
from knative_mig.ports.kube import ClusterError, Conflict, Key, ObjectNotFound

AGAIN_S: Final = 0.5  # after a write that failed
# What a status has or has not, taken out of one that the mirror may not have seen yet.
_NONE: Final = dict.fromkeys(("address", "subscriberUri", "deadLetterSinkUri"))

log = logging.getLogger(__name__)


class Controllers:
    """`address`: where a Broker takes events."""

    def __init__(
        self,
        client: KubeClient,
        post: Post,
        address: Callable[[Key], str],
        *,
        watch_s: float = WATCH_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._post = post
        self._address = address
        self._clock = clock
        self._mirrors = {kind: KubeMirror(client, kind, whole(kind), watch_s=watch_s) for kind in WATCHED}
        self._changed = threading.Event()
        self._followed = threading.Event()
        for mirror in self._mirrors.values():
            mirror.on_change(lambda _: self._changed.set())

    def bodies(self) -> Mapping[str, Callable[[threading.Event], None]]:
        """Of threads, by name."""
        return {
            "eventing controllers": self.run,
            **{f"eventing's mirror of {kind.group} {kind.plural}": each.run for kind, each in self._mirrors.items()},
        }

    def wait_synced(self, timeout_s: float) -> bool:
        """Until the post knows whom there is."""
        return self._followed.wait(timeout_s)

    def interrupt(self) -> None:
        """After `stop` was set."""
        self._changed.set()
        for each in self._mirrors.values():
            each.interrupt()

    def run(self, stop: threading.Event) -> None:
        for mirror in self._mirrors.values():
            while not mirror.wait_synced(0.2):
                if stop.is_set():
                    return
        failed = False
        self._changed.set()
        while not stop.is_set():
            if not self._changed.wait(AGAIN_S if failed else None) and not failed:
                continue
            self._changed.clear()
            try:
                failed = not self._turn()
            except (KeyError, TypeError, ValueError, AttributeError):
                # An object that somebody wrote past every check; it is looked at again when anything changes.
                log.exception("Brokers and Triggers cannot be made out")

    def _turn(self) -> bool:
        """Whether all was written that was to be."""
        seen = {kind: mirror.snapshot() for kind, mirror in self._mirrors.items()}
        decided = decide(seen, self._address, self._clock())
        self._post.follow(decided.brokers, decided.subscriptions)
        self._followed.set()
        done = True
        for (kind, key), status in decided.statuses.items():
            body = seen[kind][key]
            if status != body.get("status"):
                patch = {"metadata": {"uid": body["metadata"]["uid"]}, "status": {**_NONE, **status}}
                done = self._write(kind, key, patch) and done
        return done

    def _write(self, kind: Kind, key: Key, patch: Object) -> bool:
        try:
            self._client.merge(kind, key, patch, subresource="status", manager="controller")
        except (Conflict, ObjectNotFound) as error:
            log.debug("%s %s/%s: %s", kind.kind, key.namespace, key.name, error)  # the mirror will know
        except ClusterError as error:
            log.warning("The status of %s %s/%s: %s", kind.kind, key.namespace, key.name, error)
            return False
        return True
