"""What Knative's webhook for settings refuses: a ConfigMap of `knative-serving` that cannot be read, or asks too much.

Called by `admission` with the data as it would be. The first thing that is wrong is told, in the release's words and in
its order. Knative looks neither at the scheme of URLs nor at the words for its features, so that any is taken; the
templates of names, and settings that nobody here follows, are let be.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import yaml

from knative_mig.core.durations import written
from knative_mig.core.kpa.cluster import Cluster, number, truth, whole
from knative_mig.core.kpa.settings import LEAST_TARGET
from knative_mig.dev.serving.webhook import go_values

T = TypeVar("T")
_SHORTEST_S, _LONGEST_S = 6.0, 3600.0  # of a stable window
_MOST_CONCURRENCY: Final = 2**31 - 1


def wrong(name: str, data: Mapping[str, str]) -> str:
    """Empty: nothing is."""
    check = _CHECKS.get(name)
    if check is None:
        return ""
    try:
        return next(check(_Data(data)), "")
    except _Unreadable as unreadable:
        return f"{_PARSING.get(name, '')}{unreadable}"


class _Unreadable(Exception):
    pass


class _Data:
    """`of_…`: the default where a setting is not there. _Unreadable."""

    def __init__(self, data: Mapping[str, str]) -> None:
        self._data = data

    def text(self, key: str) -> str | None:
        return self._data.get(key)

    def whole(self, key: str, default: int) -> int:
        return self._read(key, default, whole, "strconv.ParseInt")

    def number(self, key: str, default: float) -> float:
        return self._read(key, default, number, "strconv.ParseFloat")

    def truth(self, key: str, *, default: bool) -> bool:
        return self._read(key, default, truth, "strconv.ParseBool")

    def seconds(self, key: str, default: float) -> float:
        if (text := self._data.get(key)) is None:
            return default
        try:
            return go_values.duration_s(text)
        except ValueError as error:
            raise _Unreadable(f'failed to parse "{key}": {error}') from None

    def long(self, key: str, default: int) -> int:
        if (text := self._data.get(key)) is None:
            return default
        try:
            return go_values.whole(text)
        except ValueError as error:
            raise _Unreadable(f'failed to parse "{key}": {error}') from None

    def items(self) -> Iterator[tuple[str, str]]:
        yield from sorted(self._data.items())

    def _read(self, key: str, default: T, read: Callable[[str], T | None], reader: str) -> T:
        if (text := self._data.get(key)) is None:
            return default
        if (found := read(text)) is None:
            raise _Unreadable(f'failed to parse "{key}": {reader}: parsing "{text}": invalid syntax')
        return found


def _autoscaler(data: _Data) -> Iterator[str]:
    plain = Cluster()
    zero = data.truth("allow-zero-initial-scale", default=plain.allow_zero_initial_scale)
    data.truth("enable-scale-to-zero", default=plain.enable_scale_to_zero)
    up, down = (data.number(f"max-scale-{way}-rate", getattr(plain, f"max_scale_{way}_rate")) for way in ("up", "down"))
    share = data.number("container-concurrency-target-percentage", plain.utilization)
    share = share / 100.0 if share > 1.0 else share
    concurrency = data.number("container-concurrency-target-default", plain.concurrency_target)
    rps = data.number("requests-per-second-target-default", plain.rps_target)
    burst = data.number("target-burst-capacity", plain.target_burst_capacity)
    panic = data.number("panic-window-percentage", plain.panic_window_percentage)
    activator = data.number("activator-capacity", plain.activator_capacity)
    data.number("panic-threshold-percentage", plain.panic_threshold_percentage)
    initial = data.whole("initial-scale", plain.initial_scale)
    least, most, limit = (data.whole(which, 0) for which in ("min-scale", "max-scale", "max-scale-limit"))
    window = data.seconds("stable-window", plain.stable_window_s)
    delay = data.seconds("scale-down-delay", plain.scale_down_delay_s)
    grace = data.seconds("scale-to-zero-grace-period", plain.grace_s)
    retention = data.seconds("scale-to-zero-pod-retention-period", plain.retention_s)

    if grace <= 0:
        yield f"scale-to-zero-grace-period must be positive, was: {written(grace)}"
    if delay < 0:
        yield f"scale-down-delay cannot be negative, was: {written(delay)}"
    if delay % 1:
        yield f"scale-down-delay = {written(delay)}, must be specified with at most second precision"
    if retention < 0:
        yield f"scale-to-zero-pod-retention-period cannot be negative, was: {written(retention)}"
    if burst < 0 and burst != -1:
        yield f"target-burst-capacity must be either non-negative or -1 (for unlimited), was: {burst:f}"
    if not 0 < share <= 1:
        yield f"container-concurrency-target-percentage = {share:f} is outside of valid range of (0, 100]"
    if share * concurrency < LEAST_TARGET:
        yield (
            "container-concurrency-target-percentage and container-concurrency-target-default yield target concurrency "
            f"of {share * concurrency:g}, can't be less than {LEAST_TARGET}"
        )
    if rps < LEAST_TARGET:
        yield f"requests-per-second-target-default must be at least {LEAST_TARGET}, was: {rps:g}"
    if activator < 1:
        yield f"activator-capacity = {activator:g}, must be at least 1"
    for way, rate in (("up", up), ("down", down)):
        if rate <= 1:
            yield f"max-scale-{way}-rate = {rate:g}, must be greater than 1.0"
    if not _SHORTEST_S <= window <= _LONGEST_S:
        yield f"stable-window = {written(window)}, must be in [{written(_SHORTEST_S)}; {written(_LONGEST_S)}] range"
    if window % 1:
        yield f"stable-window = {written(window)}, must be specified with at most second precision"
    if not 1 <= panic <= 100:
        yield f"panic-window-percentage = {panic:g}, must be in [1, 100] interval"
    if initial < 0 or (initial == 0 and not zero):
        yield (f"initial-scale = {initial}, must be at least 0 (or at least 1 when allow-zero-initial-scale is false)")
    if least < 0:
        yield f"min-scale = {least}, must be at least 0"
    lowest = 1 if limit > 0 else 0
    if most < lowest or most > limit > 0:
        yield f"max-scale = {most}, must be in [{lowest}, max-scale-limit({limit})] range"
    if limit < 0:
        yield f"max-scale-limit = {limit}, must be at least 0"
    if least > most > 0:
        yield f"min-scale ({least}) must be less than max-scale ({most})"


def _defaults(data: _Data) -> Iterator[str]:
    data.truth("allow-container-concurrency-zero", default=True)
    timeout = data.whole("revision-timeout-seconds", 300)
    longest = data.whole("max-revision-timeout-seconds", 600)
    idle = data.whole("revision-idle-timeout-seconds", 0)
    concurrency = data.whole("container-concurrency", 0)
    most = data.whole("container-concurrency-max-limit", 1000)
    start = data.whole("revision-response-start-timeout-seconds", timeout)
    if timeout > longest:
        yield _greater("revision-timeout-seconds", timeout, "max-revision-timeout-seconds", longest)
    for key, value in (("revision-response-start-timeout-seconds", start), ("revision-idle-timeout-seconds", idle)):
        if value > 0 and value > timeout:
            yield _greater(key, value, "revision-timeout-seconds", timeout)
    if most < 1:
        yield f"expected 1 <= {most} <= {_MOST_CONCURRENCY}: container-concurrency-max-limit"
    if not 0 <= concurrency <= most:
        yield f"expected 0 <= {concurrency} <= {most}: container-concurrency"


def _deployment(data: _Data) -> Iterator[str]:
    data.truth("pod-is-always-schedulable", default=False)
    deadline = data.seconds("progress-deadline", Cluster().progress_deadline_s)
    if deadline <= 0:
        yield f"progress-deadline cannot be a non-positive duration, was {written(deadline)}"
    if deadline % 1:
        yield f"progress-deadline must be rounded to a whole second, was: {written(deadline)}"
    affinity = data.text("default-affinity-type")
    if affinity not in (None, "none", "prefer-spread-revision-over-nodes"):
        yield f'unsupported default-affinity-type value: "{affinity}"'


def _gc(data: _Data) -> Iterator[str]:
    least, most = data.long("min-non-active-revisions", 20), 1000
    for key in ("retain-since-create-time", "retain-since-last-active-time"):
        if not _is_default_or_off(text := data.text(key) or ""):
            try:
                if go_values.duration_s(text) < 0:
                    yield f"failed to parse {key}: must be non-negative"
            except ValueError as error:
                yield f"failed to parse {key}: {error}"
    if not _is_default_or_off(text := data.text("max-non-active-revisions") or ""):
        try:
            most = go_values.whole(text, is_signed=False)
        except ValueError as error:
            yield f"failed to parse max-non-active-revisions: {error}"
    if most > go_values.MOST:
        yield f"failed to parse max-non-active-revisions: value should be lower than {go_values.MOST}"
    if least < 0:
        yield f"min-non-active-revisions must be non-negative, was: {least}"
    if least > most and text.lower() != "disabled":
        yield f"min-non-active-revisions({least}) must be <= max-non-active-revisions({most})"


def _is_default_or_off(text: str) -> bool:
    return text.lower() in ("", "disabled")


def _network(data: _Data) -> Iterator[str]:
    rollout = data.long("rolloutDuration", 0)
    data.truth("autocreateClusterDomainClaims", default=False)
    rollout = data.long("rollout-duration", rollout)
    for key in ("autocreate-cluster-domain-claims", "enable-mesh-pod-addressability", "internal-encryption"):
        data.truth(key, default=False)
    if rollout < 0:
        yield f"rollout-duration must be a positive integer, but was {rollout}"
    protocol = data.text("http-protocol")
    told = data.text("httpProtocol") if protocol is None else protocol
    if (told or "").lower() not in ("", "enabled", "disabled", "redirected"):
        yield f"httpProtocol {protocol or ''} in config-network ConfigMap is not supported"
    for key in ("system-internal-tls", "cluster-local-domain-tls"):
        if (told := data.text(key) or "").lower() not in ("", "enabled", "disabled"):
            yield f'{key} with value: "{told}" in config-network ConfigMap is not supported'


def _domain(data: _Data) -> Iterator[str]:
    undecoded = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal"
    for name, text in data.items():
        if name == "_example":
            continue
        try:
            about = yaml.safe_load(text)
        except yaml.YAMLError as error:
            yield f"error converting YAML to JSON: yaml: {' '.join(str(error).split())}"
            continue
        if about is not None and not isinstance(about, dict):
            yield f"{undecoded} {_json_kind(about)} into Go value of type config.domainInternalConfig"
        elif about and not isinstance(selector := about.get("selector") or {}, dict):
            of = "Go struct field domainInternalConfig.selector of type map[string]string"
            yield f"{undecoded} {_json_kind(selector)} into {of}"


def _json_kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "string"


def _greater(key: str, value: int, other: str, limit: int) -> str:
    return f"{key} ({value}) cannot be greater than {other} ({limit})"


_CHECKS: Final[Mapping[str, Callable[[_Data], Iterator[str]]]] = {
    "config-autoscaler": _autoscaler,
    "config-defaults": _defaults,
    "config-deployment": _deployment,
    "config-domain": _domain,
    "config-gc": _gc,
    "config-network": _network,
}
_PARSING: Final = {"config-autoscaler": "failed to parse data: ", "config-gc": "failed to parse data: "}
