"""What the API server of `dev` has to be good for, as one tour: the commands of kubectl, kn and the Python library.

Taken by `record_api` on a real cluster, whose recording is then played against `dev`; and by tests on `dev` itself. A
command may fail: what is asked and answered is recorded all the same. Everything happens in one namespace of its own.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes import client as kubernetes
from kubernetes.dynamic import DynamicClient
from kubernetes.watch import Watch

NAMESPACE: Final = "api-tour"


def _object(api_version: str, kind: str, name: str, **more: Any) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more})


def _deployment(image: str, **more: Any) -> str:
    container = {"name": "a", "image": image, "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        **more,
    }
    return _object("apps/v1", "Deployment", "web", spec=spec)


def _gpu_node(token: int, start: int) -> str:
    slices = [{"profile": "3g.20gb", "start": at, "size": 4} for at in (0, start)]
    gpu = {"uuid": "GPU-01234567-0123-0123-0123-0123456789ab", "slices": slices}
    return _object("knative-mig.dev/v1alpha1", "GpuNode", "api-tour", spec={"fencingToken": token, "gpus": [gpu]})


_TYPO: Final = {"name": "a", "image": "x", "imagee": "y"}
_APPLY: Final = ("apply", "--filename", "-")

KUBECTL: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("version",), ""),
    (("api-resources",), ""),
    (("api-versions",), ""),
    (("auth", "can-i", "delete", "pods"), ""),
    (("auth", "whoami"), ""),
    (("explain", "gpunode.spec.gpus"), ""),
    (("explain", "pod.spec.containers"), ""),
    (("explain", "ksvc.spec", "--output", "plaintext-openapiv2"), ""),
    (_APPLY, _deployment("a:1")),
    (("diff", "--filename", "-"), _deployment("a:2")),
    (_APPLY, _deployment("a:2")),
    (("apply", "--server-side", "--filename", "-"), _deployment("a:3")),
    (("apply", "--server-side", "--field-manager=bob", "--filename", "-"), _deployment("a:4")),
    (("apply", "--server-side", "--field-manager=bob", "--force-conflicts", "--filename", "-"), _deployment("a:4")),
    (
        (
            "patch",
            "deployment",
            "web",
            "--patch",
            '{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"a:5"}]}}}}',
        ),
        "",
    ),
    (("patch", "deployment", "web", "--type=merge", "--patch", '{"metadata":{"labels":{"a":"b"}}}'), ""),
    (("patch", "deployment", "web", "--type=json", "--patch", '[{"op":"remove","path":"/metadata/labels/a"}]'), ""),
    (("patch", "deployment", "web", "--type=json", "--patch", '[{"op":"test","path":"/spec/replicas","value":9}]'), ""),
    (("scale", "deployment", "web", "--replicas=0"), ""),
    (("label", "deployment", "web", "tier=front"), ""),
    (("annotate", "deployment", "web", "note=x"), ""),
    (("set", "image", "deployment/web", "a=a:6"), ""),
    (("get", "deployments"), ""),
    (("get", "deployments", "--output", "wide"), ""),
    (("describe", "deployment", "web"), ""),
    ((*_APPLY, "--validate=strict"), _object("v1", "ConfigMap", "typo", datta={})),
    ((*_APPLY, "--validate=warn"), _object("v1", "ConfigMap", "typo", datta={})),
    ((*_APPLY, "--validate=strict"), _object("v1", "Pod", "typo", spec={"containers": [_TYPO]})),
    ((*_APPLY, "--validate=strict"), _object("v1", "Pod", "Bad_Name", spec={"containers": []})),
    (
        (*_APPLY, "--validate=strict"),
        _object("serving.knative.dev/v1", "Service", "typo", spec={"template": {"spec": {"containers": [_TYPO]}}}),
    ),
    (
        (*_APPLY, "--validate=strict"),
        _object("eventing.knative.dev/v1", "Trigger", "typo", spec={"broker": "b", "subscriberr": {}}),
    ),
    ((*_APPLY, "--validate=strict"), _object("v1", "Nix", "typo")),
    (_APPLY, _gpu_node(3, 3)),
    (_APPLY, _gpu_node(3, 4)),
    (_APPLY, _gpu_node(2, 4)),
    (("get", "gpunodes"), ""),
    (("describe", "gpunode", "api-tour"), ""),
    (("delete", "gpunode", "api-tour"), ""),
    ((*_APPLY, "--dry-run=server"), _object("v1", "ConfigMap", "dry", data={"a": "b"})),
    (("create", "configmap", "c", "--from-literal=a=1"), ""),
    (("create", "configmap", "c", "--from-literal=a=1"), ""),
    (("create", "secret", "generic", "s", "--from-literal=a=b"), ""),
    (("create", "serviceaccount", "robot"), ""),
    (("create", "role", "reader", "--verb=get", "--resource=pods"), ""),
    (("create", "quota", "q", "--hard=configmaps=30"), ""),
    (("create", "service", "clusterip", "web", "--tcp=80:8080"), ""),
    (("create", "deployment", "zero", "--image=x:1", "--replicas=0", "--port=80"), ""),
    (("run", "talker", "--image=x.invalid/x:1", "--env=A=B"), ""),
    (("get", "pods"), ""),
    (("get", "pods", "--output", "wide", "--field-selector", "metadata.name=talker"), ""),
    (("get", "pods", "--field-selector", "spec.nothing=x"), ""),
    (("describe", "pod", "talker"), ""),
    (("logs", "nobody"), ""),
    (("events",), ""),
    (("get", "events"), ""),
    (("get", "events.events.k8s.io"), ""),
    (("delete", "pod", "talker", "--grace-period=1"), ""),
    (("get", "configmaps", "--chunk-size=1"), ""),
    (("get", "configmaps", "--selector", "a in (b, c),!d"), ""),
    (("get", "configmap", "c", "--output", "yaml"), ""),
    (("get", "configmap", "nobody"), ""),
    (("get", "nodes", "--output", "wide"), ""),
    (("get", "namespaces"), ""),
    (("get", "crds"), ""),
    (("get", "leases", "--all-namespaces"), ""),
    (("get", "endpointslices"), ""),
    (("get", "all"), ""),
    (("wait", "deployment/web", "--for=jsonpath={.spec.replicas}=0", "--timeout=5s"), ""),
    (("delete", "deployment", "web", "--cascade=foreground", "--timeout=20s"), ""),
    (("delete", "deployment", "zero", "--cascade=orphan"), ""),
    (("delete", "configmaps", "--all"), ""),
)

KN: Final[tuple[tuple[str, ...], ...]] = (
    ("service", "create", "tour", "--image", "{image}", "--env", "A=first", "--scale-max", "2"),
    ("service", "list"),
    ("service", "describe", "tour"),
    ("service", "update", "tour", "--env", "A=second", "--traffic", "tour-00001=50", "--traffic", "@latest=50"),
    ("revision", "list"),
    ("revision", "describe", "tour-00001"),
    ("route", "list"),
    ("route", "describe", "tour"),
    ("service", "create", "tour", "--image", "{image}"),
    ("service", "apply", "tour", "--image", "{image}", "--env", "A=third"),
    ("service", "export", "tour", "--output", "yaml"),
    ("revision", "delete", "tour-00002", "--no-wait"),
    ("broker", "list"),
    ("trigger", "list"),
    ("service", "describe", "nobody"),
    ("service", "delete", "tour", "--wait"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    url: str
    kubectl: Path
    kn: Path
    image: str  # of a function that becomes ready where it is taken
    home: Path
    of_kubectl: Sequence[tuple[tuple[str, ...], str]] = KUBECTL
    of_kn: Sequence[tuple[str, ...]] = KN
    told: Callable[[str], None] = lambda _: None

    def take(self) -> None:
        kubeconfig = self.home / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(self.url))
        self._run(self.kubectl, "create", "namespace", NAMESPACE)
        for words, stdin in self.of_kubectl:
            self._run(self.kubectl, *words, stdin=stdin)
        for words in self.of_kn:
            self._run(self.kn, *(each.format(image=self.image) for each in words))
        for name, call in _of_library(kubernetes.ApiClient(kubernetes.Configuration(host=self.url))):
            self.told(f"python: {name}")
            try:
                call()
            except kubernetes.ApiException as refused:
                self.told(f"  {refused.status}")
        self._run(self.kubectl, "delete", "namespace", NAMESPACE, "--timeout=90s")

    def _run(self, binary: Path, *words: str, stdin: str = "") -> None:
        self.told(f"{binary.name} {' '.join(words)}")
        environment = {**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.home / "kubeconfig")}
        done = subprocess.run(
            [binary, *words], env=environment, input=stdin, capture_output=True, text=True, timeout=150, check=False
        )
        if done.returncode:
            self.told(f"  {done.returncode}: {done.stderr.strip()[:200]}")


def _of_library(library: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    core: Any = kubernetes.CoreV1Api(library)
    leases: Any = kubernetes.CoordinationV1Api(library)
    here = {"namespace": NAMESPACE}
    functions: Any = DynamicClient(library).resources  # type: ignore[no-untyped-call]
    pod = json.loads(_object("v1", "Pod", "typed", spec={"containers": [{"name": "a", "image": "x.invalid/x:1"}]}))
    lease = json.loads(_object("coordination.k8s.io/v1", "Lease", "typed", spec={"holderIdentity": "tour"}))
    yield "version", kubernetes.VersionApi(library).get_code
    yield "create a pod", lambda: core.create_namespaced_pod(body=pod, **here)
    yield (
        "patch a pod",
        lambda: core.patch_namespaced_pod(name="typed", body={"metadata": {"labels": {"a": "b"}}}, **here),
    )
    yield "read a pod", lambda: core.read_namespaced_pod(name="typed", **here)
    yield "list pods", lambda: core.list_namespaced_pod(limit=1, **here)
    yield "watch pods", lambda: list(Watch().stream(core.list_namespaced_pod, timeout_seconds=1, **here))  # type: ignore[no-untyped-call]
    yield (
        "evict a pod",
        lambda: core.create_namespaced_pod_eviction(name="typed", body={"metadata": {"name": "typed"}}, **here),
    )
    yield "create a lease", lambda: leases.create_namespaced_lease(body=lease, **here)
    yield "replace a lease", lambda: leases.replace_namespaced_lease(name="typed", body=lease, **here)
    yield "discover", lambda: functions.get(api_version="serving.knative.dev/v1", kind="Service").get(**here)


def _kubeconfig(url: str) -> str:
    entry = {"context": {"cluster": "tour", "user": "tour", "namespace": NAMESPACE}, "name": "tour"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tour", "cluster": {"server": url}}],
            "users": [{"name": "tour", "user": {}}],
            "contexts": [entry],
            "current-context": "tour",
        }
    )
