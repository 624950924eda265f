"""What the parts of `dev` ask of each other, where one has the answer in another form. Made by `cluster`."""

from collections.abc import Mapping, Sequence
from typing import Any

from knative_mig.dev.eventing.ports import Place
from knative_mig.dev.gateway import parse
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.dev.node.images import Image, problem
from knative_mig.dev.whole.objects import DOMAIN
from knative_mig.ports.kube import Key


class Door:
    """Whether the gateway has a Route's traffic, for who tells of the Route's readiness."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def serves(self, route: Key, traffic: Sequence[Mapping[str, Any]]) -> bool:
        known = self._gateway.route(route)
        return known is not None and known.traffic == parse.traffic(traffic)


class PodRequests:
    """When a pod had its last request, for who ends it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def last_came(self, pod: Key) -> float | None:
        return self._gateway.last_came(pod)


class Names:
    """Where on this machine a cluster's own names are served, for who delivers events."""

    def __init__(self, services: Mapping[str, Place], gateway: Place) -> None:
        """`services`: those that are no function, by NAMESPACE/NAME."""
        self._services, self._gateway = services, gateway

    def of(self, host: str) -> Place | None:
        name, _, rest = host.lower().partition(".")
        namespace, _, domain = rest.partition(".")
        if domain in ("svc", "svc.cluster.local"):
            return self._services.get(f"{namespace}/{name}", self._gateway)
        return self._gateway if host.lower().endswith(f".{DOMAIN}") else None


class Shelf:
    """Which images there are, for who makes Revisions."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = images

    def problem(self, image: str) -> str:
        return problem(image, self._images)
