"""A pod as far as the kubelet stand-in runs it: the values, and how they are read from the API's JSON.

Called by the mirror of pods. What a node of processes has no use for (security contexts, devices of hosts) is passed
over; what is there but of no sense is BadInput with its place. `seen` gives such a pod too, with what is wrong in place
of all that it would run, for whoever made it is to be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from knative_mig.adapters.kube import pod_requests
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.parse import REVISION_LABEL
from knative_mig.core.errors import BadInput
from knative_mig.ports.kube import Key

GRACE_S: Final = 30
_DRAIN_PATH: Final = "/wait-for-drain"  # of queue-proxy, on its admin port: it waits until the traffic has gone
_PORT: Final = 8080
_LEAST_SECONDS: Final = -(2**63)
_LESS_THAN_NOTHING_S: Final = 1  # as a cluster takes such a grace


class RestartPolicy(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class ProbeKind(StrEnum):
    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpGet:
    port: int
    path: str = "/"
    host: str = ""  # empty: the pod's address
    https: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocket:
    port: int
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPort:
    """By a name that none of the container's ports has: a cluster takes it too, and asks in vain."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    seconds: float


Check = HttpGet | TcpSocket | NoPort | Exec
Hook = HttpGet | TcpSocket | NoPort | Exec | Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    check: Check
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    successes: int = 1
    failures: int = 3
    grace_s: float | None = None
    # Knative's queue-proxy asks every 50 ms until the first success where its user has said nothing of a period.
    eager: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    name: str
    value: str = ""
    source: "EnvSource | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a container asks for or may take of a resource, told in so many `divisor`."""

    container: str  # empty: the one that is told
    of: str  # limits.cpu, requests.memory
    divisor: str  # 0: one


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSource:
    """One of Secret and ConfigMap by name and key, a field of the pod, or a share."""

    kind: str  # Secret, ConfigMap, field, share
    name: str = ""
    key: str = ""
    optional: bool = False
    share: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFrom:
    kind: str  # Secret or ConfigMap
    name: str
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    volume: str
    path: str
    sub_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Of a Secret's or ConfigMap's keys, or of the pod's own fields, or a share: one that is a file."""

    key: str
    path: str
    share: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What fills a volume, or a part of one that is projected from several."""

    kind: str  # emptyDir, Secret, ConfigMap, downwardAPI
    name: str = ""
    items: tuple[Item, ...] = ()  # none: all of its keys
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    name: str
    sources: tuple[Source, ...] = ()
    unknown: str = ""  # a kind that cannot be had here


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)  # by name; the first one's is there under "" too
    probes: Mapping[ProbeKind, Probe] = field(default_factory=dict)
    post_start: Hook | None = None
    pre_stop: Hook | None = None
    devices: Mapping[str, int] = field(default_factory=dict)  # extended resources
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    last_words: bool = False  # where it fails the end of its log is the message (FallbackToLogsOnError)

    @property
    def port(self) -> int:
        return self.ports.get("", _PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    key: Key
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    service_account: str = "default"
    restarts: RestartPolicy = RestartPolicy.ALWAYS
    init: tuple[ContainerSpec, ...] = ()
    containers: tuple[ContainerSpec, ...] = ()
    volumes: tuple[Volume, ...] = ()
    grace_s: float = GRACE_S
    deadline_s: float | None = None  # from its start to its end, whatever its containers do
    deleted: bool = False
    deletion_grace_s: float = GRACE_S
    phase: str = "Pending"
    restarted: Mapping[str, int] = field(default_factory=dict)  # by container: what its status says, of an earlier life
    unreadable: str = ""  # why nothing of it can be run

    @property
    def of_a_function(self) -> bool:
        return REVISION_LABEL in self.labels

    @property
    def over(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


def seen(body: Mapping[str, Any]) -> Pod:
    """BadInput: it is not even known which pod it is."""
    try:
        return pod(body)
    except BadInput as bad:
        top = Fields(body)
        about = top.child("metadata")
        return Pod(
            key=Key(about.name("namespace"), about.name("name")),
            uid=about.name("uid"),
            node=top.child("spec").text("nodeName"),
            deleted=about.has("deletionTimestamp"),
            deletion_grace_s=about.optional_integer("deletionGracePeriodSeconds") or 0,
            phase=top.child("status").text("phase") or "Pending",
            unreadable=str(bad),
        )


def pod(body: Mapping[str, Any]) -> Pod:
    top = Fields(body)
    about, spec, status = top.child("metadata"), top.child("spec"), top.child("status")
    labels = about.labels("labels")
    function = REVISION_LABEL in labels
    grace = spec.optional_integer("terminationGracePeriodSeconds", least=_LEAST_SECONDS)
    statuses = [*status.children("initContainerStatuses"), *status.children("containerStatuses")]
    starting = spec.children("initContainers")
    # Those that stay beside the others are begun with them here, and not before.
    sidecars = [each for each in starting if each.text("restartPolicy") == "Always"]
    staying = [*sidecars, *spec.children("containers")]
    return Pod(
        key=Key(about.name("namespace"), about.name("name")),
        uid=about.name("uid"),
        labels=labels,
        annotations=about.labels("annotations"),
        node=spec.text("nodeName"),
        service_account=spec.text("serviceAccountName") or "default",
        restarts=spec.parsed(
            "restartPolicy", lambda text: RestartPolicy(text or "Always"), "Always, OnFailure or Never"
        ),
        init=tuple(_container(each, function=function) for each in starting if each.text("restartPolicy") != "Always"),
        containers=tuple(_container(each, function=function) for each in staying),
        volumes=tuple(_volume(each) for each in spec.children("volumes")),
        grace_s=GRACE_S if grace is None else grace if grace >= 0 else _LESS_THAN_NOTHING_S,
        deadline_s=spec.optional_integer("activeDeadlineSeconds"),
        deleted=about.has("deletionTimestamp"),
        deletion_grace_s=about.optional_integer("deletionGracePeriodSeconds") or 0,
        phase=status.text("phase") or "Pending",
        restarted={each.text("name"): each.optional_integer("restartCount") or 0 for each in statuses},
    )


def _container(of: Fields, *, function: bool) -> ContainerSpec:
    ports = {each.text("name"): each.integer("containerPort", 1) for each in of.children("ports")}
    if ports:
        ports[""] = next(iter(ports.values()))
    resources = of.child("resources")
    asked = pod_requests.of_container(of)
    lifecycle = of.child("lifecycle")
    probes = {
        kind: _probe(of.child(key), ports, eager=function and kind is ProbeKind.READINESS)
        for kind, key in (
            (ProbeKind.STARTUP, "startupProbe"),
            (ProbeKind.LIVENESS, "livenessProbe"),
            (ProbeKind.READINESS, "readinessProbe"),
        )
        if of.has(key)
    }
    return ContainerSpec(
        name=of.name("name"),
        image=of.text("image"),
        command=of.texts("command"),
        args=of.texts("args"),
        working_dir=of.text("workingDir"),
        env=tuple(_env(each) for each in of.children("env")),
        env_from=tuple(_env_from(each) for each in of.children("envFrom")),
        mounts=tuple(
            Mount(volume=each.name("name"), path=each.name("mountPath"), sub_path=each.text("subPath"))
            for each in of.children("volumeMounts")
        ),
        ports=ports,
        probes=probes,
        post_start=_hook(lifecycle.child("postStart"), ports),
        pre_stop=_hook(lifecycle.child("preStop"), ports),
        devices={name: int(count) for name, count in asked.items() if "/" in name and count > 0},
        limits=resources.labels("limits"),
        requests=resources.labels("requests"),
        last_words=of.text("terminationMessagePolicy") == "FallbackToLogsOnError",
    )


def _probe(of: Fields, ports: Mapping[str, int], *, eager: bool) -> Probe:
    period = of.optional_integer("periodSeconds") or 10
    delay = of.optional_integer("initialDelaySeconds") or 0
    return Probe(
        check=_check(of, ports) or TcpSocket(port=ports.get("", _PORT)),
        initial_delay_s=delay,
        period_s=period,
        timeout_s=of.optional_integer("timeoutSeconds") or 1,
        successes=of.optional_integer("successThreshold") or 1,
        failures=of.optional_integer("failureThreshold") or 3,
        grace_s=of.optional_integer("terminationGracePeriodSeconds"),
        # A period of one second is what Serving's stand-in writes where none was given: a pod cannot say less.
        eager=eager and (of.optional_integer("periodSeconds") or 1) == 1 and not delay,
    )


def _check(of: Fields, ports: Mapping[str, int]) -> Check | None:
    if "httpGet" in of.values:
        http = of.child("httpGet")
        port = _port(http, ports)
        if isinstance(port, NoPort):
            return port
        return HttpGet(
            port=port,
            path=http.text("path") or "/",
            host=http.text("host"),
            https=http.text("scheme") == "HTTPS",
            headers=tuple((each.name("name"), each.text("value")) for each in http.children("httpHeaders")),
        )
    if "exec" in of.values:
        return Exec(argv=of.child("exec").texts("command"))
    for kind in ("tcpSocket", "grpc"):  # what speaks gRPC there is taken to be well if it answers at all
        if kind in of.values:
            port = _port(of.child(kind), ports)
            return port if isinstance(port, NoPort) else TcpSocket(port=port, host=of.child(kind).text("host"))
    return None


def _hook(of: Fields, ports: Mapping[str, int]) -> Hook | None:
    if "sleep" in of.values:
        return Sleep(seconds=of.child("sleep").optional_integer("seconds") or 0)
    found = _check(of, ports)
    # That one is the gateway's here, and waited for with it.
    return None if isinstance(found, HttpGet) and found.path == _DRAIN_PATH else found


def _port(of: Fields, ports: Mapping[str, int]) -> int | NoPort:
    """By number or by name; none means the container's own, as Knative has it."""
    value = of.values.get("port")
    if isinstance(value, str) and not value.isdecimal():
        return ports[value] if value in ports else NoPort(name=value)
    number = int(value) if isinstance(value, int | str) and value else 0
    return number or ports.get("", _PORT)


def _env(of: Fields) -> EnvVar:
    source = of.child("valueFrom")
    found: EnvSource | None = None
    for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if source.has(key):
            ref = source.child(key)
            found = EnvSource(kind=kind, name=ref.text("name"), key=ref.name("key"), optional=ref.flag("optional"))
    if source.has("fieldRef"):
        found = EnvSource(kind="field", key=source.child("fieldRef").name("fieldPath"))
    if source.has("resourceFieldRef"):
        found = EnvSource(kind="share", share=_share(source.child("resourceFieldRef")))
    return EnvVar(name=of.name("name"), value=of.text("value"), source=found)


def _share(of: Fields) -> Share:
    divisor = str(of.values.get("divisor") or "0")
    return Share(container=of.text("containerName"), of=of.name("resource"), divisor=divisor)


def _env_from(of: Fields) -> EnvFrom:
    kind, key = ("Secret", "secretRef") if of.has("secretRef") else ("ConfigMap", "configMapRef")
    ref = of.child(key)
    return EnvFrom(kind=kind, name=ref.name("name"), prefix=of.text("prefix"), optional=ref.flag("optional"))


def _volume(of: Fields) -> Volume:
    name = of.name("name")
    if "projected" in of.values:
        parts = of.child("projected").children("sources")
        return Volume(name=name, sources=tuple(found for each in parts if (found := _source(each, "name"))))
    found = _source(of, "secretName")
    if found is not None:
        return Volume(name=name, sources=(found,))
    kinds = [kind for kind in of.values if kind != "name"]
    return Volume(name=name, unknown=kinds[0]) if kinds else Volume(name=name)


def _source(of: Fields, secret_name: str) -> Source | None:
    if "emptyDir" in of.values:
        return Source(kind="emptyDir")
    if of.has("secret"):
        ref = of.child("secret")
        return Source(kind="Secret", name=ref.text(secret_name), items=_items(ref), optional=ref.flag("optional"))
    if of.has("configMap"):
        ref = of.child("configMap")
        return Source(kind="ConfigMap", name=ref.text("name"), items=_items(ref), optional=ref.flag("optional"))
    if of.has("downwardAPI"):
        files = of.child("downwardAPI").children("items")
        return Source(kind="downwardAPI", items=tuple(_told(each) for each in files))
    return None


def _told(of: Fields) -> Item:
    share = _share(of.child("resourceFieldRef")) if of.has("resourceFieldRef") else None
    return Item(key=of.child("fieldRef").text("fieldPath"), path=of.name("path"), share=share)


def _items(of: Fields) -> tuple[Item, ...]:
    return tuple(Item(key=each.name("key"), path=each.name("path")) for each in of.children("items"))
