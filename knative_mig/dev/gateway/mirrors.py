"""Keeps a gateway's hall as the API has it: a mirror of each kind, each object on its own as it changes.

Made by the composing process, which also makes the threads: one for each of `bodies`. A revision is watched for its
name alone where its pods are, by their label; which of the two comes first does not matter.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import POD, REVISION, Kind
from knative_mig.adapters.kube.parse import REVISION_LABEL
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.dev.gateway import parse
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.ports.kube import Key

ROUTE: Final = Kind("serving.knative.dev/v1", "Route", "routes")
SERVERLESS_SERVICE: Final = Kind("networking.internal.knative.dev/v1alpha1", "ServerlessService", "serverlessservices")


class Mirrors:
    def __init__(self, client: KubeClient, gateway: Gateway) -> None:
        self._routes = KubeMirror(client, ROUTE, parse.route)
        self._revisions = KubeMirror(client, REVISION, parse.revision)
        self._pods = KubeMirror(client, POD, parse.pod, label_selector=REVISION_LABEL)
        self._modes = KubeMirror(client, SERVERLESS_SERVICE, parse.is_direct)
        self._routes.on_change(lambda key: gateway.route_changed(key, self._routes.get(key)))
        self._revisions.on_change(lambda key: gateway.revision_changed(key, self._revisions.get(key)))
        self._pods.on_change(lambda key: gateway.pod_changed(key, self._pods.get(key)))
        self._modes.on_change(lambda key: gateway.direct_changed(key, is_direct=bool(self._modes.get(key))))

    def on_route(self, hear: Callable[[Key], None]) -> None:
        """After the gateway has it."""
        self._routes.on_change(hear)

    @property
    def _all(self) -> tuple[KubeMirror[Any], ...]:
        return (self._revisions, self._pods, self._modes, self._routes)

    def bodies(self) -> Mapping[str, Callable[[threading.Event], None]]:
        """Of threads, by name."""
        return {f"mirror of {each.kind.plural}": each.run for each in self._all}

    def wait_synced(self, timeout_s: float) -> bool:
        return all(each.wait_synced(timeout_s) for each in self._all)

    def interrupt(self) -> None:
        """After their `stop` was set."""
        for each in self._all:
            each.interrupt()
