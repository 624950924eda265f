"""The pod that a template wants, as Knative lets it in: which fields it may have, and the mistakes that are often made.

Called by `checks`. Fields that Kubernetes has and Knative does not allow, or only with a feature of `config-features`,
are told apart from those that nobody knows, which the API server has refused before.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from knative_mig.dev.problems import Problems
from knative_mig.dev.serving.objects import Object
from knative_mig.dev.serving.settings import Features, Settings

_POD: Final = frozenset(
    {
        "serviceAccountName",
        "containers",
        "volumes",
        "imagePullSecrets",
        "enableServiceLinks",
        "automountServiceAccountToken",
        "containerConcurrency",
        "timeoutSeconds",
        "idleTimeoutSeconds",
        "responseStartTimeoutSeconds",
    }
)
_POD_FEATURES: Final[Mapping[str, str]] = {
    "affinity": "kubernetes.podspec-affinity",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "hostAliases": "kubernetes.podspec-hostaliases",
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "runtimeClassName": "kubernetes.podspec-runtimeclassname",
    "tolerations": "kubernetes.podspec-tolerations",
    "securityContext": "kubernetes.podspec-securitycontext",
    "shareProcessNamespace": "kubernetes.podspec-shareprocessnamespace",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "schedulerName": "kubernetes.podspec-schedulername",
    "initContainers": "kubernetes.podspec-init-containers",
    "dnsPolicy": "kubernetes.podspec-dnspolicy",
    "dnsConfig": "kubernetes.podspec-dnsconfig",
    "hostIPC": "kubernetes.podspec-hostipc",
    "hostPID": "kubernetes.podspec-hostpid",
    "hostNetwork": "kubernetes.podspec-hostnetwork",
}
_CONTAINER_NOT: Final = ("lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices", "resizePolicy", "restartPolicy")
_CLAIM: Final = "persistentVolumeClaim"
_VOLUMES: Final[Mapping[str, tuple[str, str]]] = {
    "emptyDir": ("EmptyDir", "kubernetes.podspec-volumes-emptydir"),
    _CLAIM: ("Persistent volume claim", "kubernetes.podspec-persistent-volume-claim"),
    "hostPath": ("HostPath", "kubernetes.podspec-volumes-hostpath"),
    "csi": ("CSI", "kubernetes.podspec-volumes-csi"),
    "ephemeral": ("Ephemeral", "kubernetes.podspec-volumes-ephemeral"),
    "image": ("Image", "kubernetes.podspec-volumes-image"),
}
_PLAIN_VOLUMES: Final = ("secret", "configMap", "projected")
_WRITABLE: Final = ("emptyDir", _CLAIM, "ephemeral")
_RESERVED_ENV: Final = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
_RESERVED_PORTS: Final = frozenset({8008, 8012, 8013, 8022, 9090, 9091})
_PROBES: Final = ("httpGet", "tcpSocket", "exec", "grpc")
_PROBE_NUMBERS: Final = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_REGISTRY: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_REPOSITORY: Final = re.compile(r"[a-z0-9_./-]{2,255}")
_TAG: Final = re.compile(r"[A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def check_template_spec(spec: Mapping[str, Any], settings: Settings, problems: Problems) -> None:
    features = settings.features
    for name in sorted(spec):
        feature = _POD_FEATURES.get(name)
        if name not in _POD and (feature is None or features.is_off(feature)) and spec[name] not in (None, "", [], {}):
            problems.disallowed(name)
    volumes = _volumes(spec, features, problems)
    containers: Sequence[Object] = spec.get("containers") or ()
    ports = [port for each in containers for port in each.get("ports") or ()]
    if not containers:
        problems.missing("containers")
    elif len(containers) > 1 and not ports:
        problems.missing("containers[*].ports")
    elif len(ports) > 1:
        only = "Only a single port is allowed across all containers"
        problems.say("more than one container port is set", "containers[*].ports", details=only)
    names: set[str] = set()
    for at, each in enumerate(containers):
        place = problems.below("containers", at)
        if each.get("name") in names:
            place.say(f'duplicate container name "{each["name"]}"', "name")
        names.add(each.get("name", ""))
        _container(each, volumes, features, place, serves=len(containers) == 1 or bool(each.get("ports")))
        _unsafe(each, spec.get("securityContext") or {}, place.below("securityContext"))
    timeout, most = spec.get("timeoutSeconds") or 0, settings.longest_timeout_s
    if not 0 <= timeout <= most:
        problems.out_of_bounds(timeout, 0, most, "timeoutSeconds")
    concurrency = spec.get("containerConcurrency")
    least = 0 if settings.unlimited_concurrency else 1
    if concurrency is not None and not least <= concurrency <= settings.most_concurrency:
        problems.out_of_bounds(concurrency, least, settings.most_concurrency, "containerConcurrency")


def is_image(text: str) -> bool:
    """Whether it names one: registry/repository:tag@digest, all but the repository may be missing."""
    name, at, digest = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    first, _, rest = f"{head}{slash}{last}".partition("/")
    repository = f"{head}{slash}{last}"
    if rest and ("." in first or ":" in first or first == "localhost"):
        if not _REGISTRY.fullmatch(first):
            return False
        repository = rest
    is_whole = _REPOSITORY.fullmatch(repository) is not None and _TAG.fullmatch(tag) is not None
    return is_whole and (not at or _DIGEST.fullmatch(digest) is not None)


def _volumes(spec: Mapping[str, Any], features: Features, problems: Problems) -> Mapping[str, Object]:
    mounted = {
        mount.get("name")
        for part in ("containers", "initContainers")
        for each in spec.get(part) or ()
        for mount in each.get("volumeMounts") or ()
    }
    found: dict[str, Object] = {}
    allowed = [*_PLAIN_VOLUMES, *(kind for kind, (_, flag) in _VOLUMES.items() if features.is_on(flag))]
    for at, volume in enumerate(spec.get("volumes") or ()):
        place, name = problems.below("volumes", at), volume.get("name", "")
        if not name:
            place.missing("name")
        if name in found:
            place.say(f'duplicate volume name "{name}"', "name")
        if name not in mounted:
            place.say(f'volume with name "{name}" not mounted', "name")
        has = [kind for kind in (*_PLAIN_VOLUMES, *_VOLUMES) if volume.get(kind) is not None]
        for kind in has:
            if kind in _VOLUMES:
                _volume_of_feature(volume, kind, features, place)
        if not has:
            place.neither(*allowed)
        elif len(has) > 1:
            place.both(*has)
        found[name] = volume
    return found


def _volume_of_feature(volume: Object, kind: str, features: Features, problems: Problems) -> None:
    what, flag = _VOLUMES[kind]
    if kind == _CLAIM:
        claim = volume[kind].get("claimName", "")
        if not features.is_on(flag):
            problems.say_placeless(f"{what} support is disabled, but found persistent volume claim {claim}")
        if not volume[kind].get("readOnly") and not features.is_on("kubernetes.podspec-persistent-volume-write"):
            told = f"Persistent volume write support is disabled, but found persistent volume claim {claim}"
            problems.say_placeless(f"{told} that is not read-only")
    elif not features.is_on(flag):
        problems.say_placeless(f"{what} volume support is disabled, but found {what} volume {volume.get('name', '')}")
    if features.is_off(flag):
        problems.disallowed(kind)


def _container(
    container: Object, volumes: Mapping[str, Object], features: Features, problems: Problems, *, serves: bool
) -> None:
    for name in _CONTAINER_NOT:
        if container.get(name):
            problems.disallowed(name)
    if container.get("name") == "queue-proxy":
        problems.say('"queue-proxy" is a reserved container name', "name")
    _env(container, features, problems, serves=serves)
    image = container.get("image", "")
    if not image:
        problems.missing("image")
    elif not is_image(image):
        why = f'image: "{image}", error: could not parse reference: {image}'
        problems.say("Failed to parse image reference", "image", details=why)
    for port in list(container.get("ports") or ())[:1]:
        _port(port, problems.below("ports"))
    if (container.get("resources") or {}).get("claims"):
        problems.below("resources").disallowed("claims")
    _mounts(container, volumes, problems)
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        if serves or features.is_on("multi-container-probing"):
            _probe(probe, problems.below(name), is_readiness=name == "readinessProbe")
            if not serves:
                _port_of_probe(probe, problems.below(name))
        else:
            # Only who takes requests is asked whether it is ready for them.
            numbers = [each for each in _PROBE_NUMBERS if probe.get(each)]
            how = [""] if any(probe.get(each) is not None for each in _PROBES) else []
            if numbers or how:
                problems.below(name).disallowed(*numbers, *how)


def _env(container: Object, features: Features, problems: Problems, *, serves: bool) -> None:
    reserved = _RESERVED_ENV if serves else _RESERVED_ENV - {"PORT"}
    for at, each in enumerate(container.get("env") or ()):
        place, name = problems.below("env", at), each.get("name", "")
        if not name:
            place.missing("name")
        elif name in reserved:
            place.say(f'"{name}" is a reserved environment variable', "name")
        for source in ("fieldRef", "resourceFieldRef"):
            if features.is_off("kubernetes.podspec-fieldref") and (each.get("valueFrom") or {}).get(source):
                place.below("valueFrom").disallowed(source)


def _port(port: Object, problems: Problems) -> None:
    for name in ("hostIP", "hostPort"):
        if port.get(name):
            problems.disallowed(name)
    number = port.get("containerPort") or 0
    if number in _RESERVED_PORTS:
        told = f"{number} is a reserved port"
        problems.invalid(told, "containerPort", f"{told}, please use a different value")
    if not 0 <= number <= 65535:
        problems.out_of_bounds(number, 0, 65535, "containerPort")
    if port.get("protocol") not in (None, "", "TCP"):
        problems.invalid(port["protocol"], "protocol")
    if port.get("name") not in (None, "", "h2c", "http1"):
        legal = "Name must be empty, or one of: 'h2c', 'http1'"
        problems.say(f"Port name {port['name']} is not allowed", details=legal)


def _mounts(container: Object, volumes: Mapping[str, Object], problems: Problems) -> None:
    paths: set[str] = set()
    for at, mount in enumerate(container.get("volumeMounts") or ()):
        place = problems.below("volumeMounts", at)
        volume, path = volumes.get(mount.get("name", "")), mount.get("mountPath", "")
        clean = posixpath.normpath(path) if path else ""
        if volume is None:
            place.say("volumeMount has no matching volume", "name")
        if not path:
            place.missing("mountPath")
        elif clean in ("/", "/dev", "/dev/log"):
            place.say(f'mountPath "{clean}" is a reserved path', "mountPath")
        elif not path.startswith("/"):
            place.invalid(path, "mountPath")
        elif clean in paths:
            place.invalid(f'"{path}" must be unique', "mountPath")
        paths.add(clean)
        if not mount.get("readOnly") and not any((volume or {}).get(kind) is not None for kind in _WRITABLE):
            place.say("volume mount should be readOnly for this type of volume", "readOnly")
        if ((volume or {}).get(_CLAIM) or {}).get("readOnly") and not mount.get("readOnly"):
            place.say("volume is readOnly but volume mount is not", "readOnly")


def _probe(probe: Object, problems: Problems, *, is_readiness: bool) -> None:
    has = [how for how in _PROBES if probe.get(how) is not None]
    if not has:
        problems.neither(*_PROBES)
    elif len(has) > 1:
        problems.both(*("gRPC" if how == "grpc" else how for how in has))
    if not is_readiness:
        return
    most, period = 2**31 - 1, probe.get("periodSeconds") or 0
    for name, least in (("periodSeconds", 0), ("initialDelaySeconds", 0), ("successThreshold", 1)):
        if (probe.get(name) or 0) < least:
            problems.out_of_bounds(probe.get(name) or 0, least, most, name)
    for name in ("failureThreshold", "timeoutSeconds"):
        if not period and probe.get(name):
            problems.say(f"{name} is disallowed when periodSeconds is zero", name)
        elif period and (probe.get(name) or 0) < 1:
            problems.out_of_bounds(probe.get(name) or 0, 1, most, name)


def _port_of_probe(probe: Object, problems: Problems) -> None:
    """A sidecar has none that it could be by default."""
    for how in ("httpGet", "tcpSocket"):
        if probe.get(how) is not None and probe[how].get("port", 0) in (0, ""):
            problems.invalid(probe[how].get("port", 0), f"{how}.port", "Probe port must be specified")


def _unsafe(container: Object, pod: Mapping[str, Any], problems: Problems) -> None:
    """What Kubernetes lets a container do unless it says otherwise, as Knative warns of it."""
    own = container.get("securityContext") or {}
    seccomp = [each["seccompProfile"] for each in (own, pod) if each.get("seccompProfile") is not None]
    capabilities = own.get("capabilities")
    unsafe = {
        "runAsNonRoot": own.get("runAsNonRoot") is None and pod.get("runAsNonRoot") is None,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is None,
        "seccompProfile": not seccomp,
        "seccompProfile.type": bool(seccomp) and not any(each.get("type") for each in seccomp),
        "capabilities": capabilities is None,
        "capabilities.drop": capabilities is not None and capabilities.get("drop") is None,
    }
    told = "Kubernetes default value is insecure, Knative may default this to secure in a future release"
    for name, is_so in unsafe.items():
        if is_so:
            problems.say(told, name, is_warning=True)
