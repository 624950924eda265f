"""The cluster's own settings, as far as Serving's stand-ins follow them, from the ConfigMaps in `knative-serving`.

Made by `loop` whenever one of these changes, and by the webhook. What is not there is as Knative has it, and so is what
cannot be read: Knative's webhook would not have let it in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from knative_mig.core.durations import seconds
from knative_mig.core.errors import BadInput
from knative_mig.core.kpa.cluster import Cluster, cluster_of

NAMESPACE: Final = "knative-serving"
KPA: Final = "kpa.autoscaling.knative.dev"
CLUSTER_DOMAIN: Final = "svc.cluster.local"
_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_FLAGS: Final = frozenset({"enabled", "allowed", "disabled", "allowrootbounded"})
_ON_BY_DEFAULT: Final = frozenset({"multi-container", "kubernetes.podspec-volumes-emptydir"})
_SCALING: Final = Cluster()  # with Knative's defaults

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """`config-gc`. None: that one is off."""

    since_created_s: float | None = 48 * 3600.0
    since_active_s: float | None = 15 * 3600.0
    least: int = 20
    most: int | None = 1000


@dataclass(frozen=True, slots=True)
class Features:
    """`config-features`: by name, without case."""

    given: tuple[tuple[str, str], ...] = ()

    def is_off(self, name: str) -> bool:
        return self._of(name) == "disabled"

    def is_on(self, name: str) -> bool:
        return self._of(name) == "enabled"

    def _of(self, name: str) -> str:
        return dict(self.given).get(name, "enabled" if name in _ON_BY_DEFAULT else "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    timeout_s: int = 300
    longest_timeout_s: int = 600
    response_start_s: int = 300
    idle_s: int = 0
    concurrency: int = 0
    most_concurrency: int = 1000
    unlimited_concurrency: bool = True
    service_links: bool | None = False
    container_name: str = "user-container"
    requests: tuple[tuple[str, str], ...] = ()  # that a container has by default
    limits: tuple[tuple[str, str], ...] = ()
    progress_deadline_s: float = _SCALING.progress_deadline_s
    always_schedulable: bool = False
    spread: bool = True  # a revision's pods over nodes, where that can be
    autoscaler_class: str = KPA
    initial_scale: int = _SCALING.initial_scale
    zero_initial_scale: bool = _SCALING.allow_zero_initial_scale
    most_scale: int = 0  # that anybody may ask for; 0: any
    domain: str = CLUSTER_DOMAIN
    port: int = 80  # of the gateway; a ConfigMap has no place for one, as a cluster's listens where browsers look
    retention: Retention = Retention()
    features: Features = Features()


def settings_of(maps: Mapping[str, Mapping[str, str]], *, port: int = 80, domain: str = "") -> Settings:
    """`maps`: the data of ConfigMaps, by their names. `domain`: the one that is answered at, whatever these say."""
    defaults, deployment = _Data(maps.get("config-defaults")), _Data(maps.get("config-deployment"))
    autoscaler, old = _Data(maps.get("config-autoscaler")), _Data(maps.get("config-gc"))
    scaling = _scaling(maps)
    plain, kept = Settings(), Retention()
    return Settings(
        timeout_s=defaults.of("revision-timeout-seconds", int, plain.timeout_s),
        longest_timeout_s=defaults.of("max-revision-timeout-seconds", int, plain.longest_timeout_s),
        response_start_s=defaults.of("revision-response-start-timeout-seconds", int, plain.response_start_s),
        idle_s=defaults.of("revision-idle-timeout-seconds", int, plain.idle_s),
        concurrency=defaults.of("container-concurrency", int, plain.concurrency),
        most_concurrency=defaults.of("container-concurrency-max-limit", int, plain.most_concurrency),
        unlimited_concurrency=defaults.of("allow-container-concurrency-zero", _truth, plain.unlimited_concurrency),
        service_links=defaults.of("enable-service-links", _truth_or_default, plain.service_links),
        container_name=defaults.of("container-name-template", str, plain.container_name),
        requests=defaults.amounts("request"),
        limits=defaults.amounts("limit"),
        progress_deadline_s=scaling.progress_deadline_s,
        always_schedulable=deployment.of("pod-is-always-schedulable", _truth, plain.always_schedulable),
        spread=deployment.of("default-affinity-type", str, "prefer-spread-revision-over-nodes") != "none",
        autoscaler_class=autoscaler.of("pod-autoscaler-class", str, plain.autoscaler_class),
        initial_scale=scaling.initial_scale,
        zero_initial_scale=scaling.allow_zero_initial_scale,
        most_scale=autoscaler.of("max-scale-limit", int, plain.most_scale),
        domain=domain or _domain(maps.get("config-domain") or {}),
        port=port,
        retention=Retention(
            since_created_s=old.of("retain-since-create-time", _kept, kept.since_created_s),
            since_active_s=old.of("retain-since-last-active-time", _kept, kept.since_active_s),
            least=old.of("min-non-active-revisions", int, kept.least),
            most=old.of("max-non-active-revisions", _most, kept.most),
        ),
        features=Features(
            tuple(
                sorted(
                    (name, text.lower())
                    for name, text in (maps.get("config-features") or {}).items()
                    if text.lower() in _FLAGS  # Knative lets others in, and goes by its default
                )
            )
        ),
    )


def _scaling(maps: Mapping[str, Mapping[str, str]]) -> Cluster:
    """What the autoscaler itself goes by too."""
    try:
        return cluster_of(maps.get("config-autoscaler") or {}, maps.get("config-deployment"))
    except BadInput:
        return _SCALING


class _Data:
    def __init__(self, data: Mapping[str, str] | None) -> None:
        self._data = data or {}

    def of(self, name: str, read: Callable[[str], T], default: T) -> T:
        try:
            return read(self._data[name])
        except (KeyError, ValueError):
            return default

    def amounts(self, which: str) -> tuple[tuple[str, str], ...]:
        found = ((name, self._data.get(f"revision-{name}-{which}")) for name in _RESOURCES)
        return tuple((name, text) for name, text in found if text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _truth_or_default(text: str) -> bool | None:
    return None if text == "default" else _truth(text)


def _kept(text: str) -> float | None:
    return None if text.lower() == "disabled" else seconds(text)


def _most(text: str) -> int | None:
    return None if text.lower() == "disabled" else int(text)


def _domain(data: Mapping[str, Any]) -> str:
    """The one for all; those for services with certain labels are not stood in for."""
    return min(
        (name for name, selector in data.items() if not selector and not name.startswith("_")), default=CLUSTER_DOMAIN
    )
