"""One node: containerd, kubelet and kube-proxy in a network namespace, a mount namespace and cgroups of its own.

Inside its mount namespace a node has /run, /var/lib and /var/log to itself (network.py), so every path below is the
usual one of a real machine: the device-plugin folder, containerd's socket, /var/run/cdi.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import cgroups, network, processes
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.control_plane import last_words
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.layout import NodeFolder, State
from tests.cluster.testbed.processes import Command, Component
from tests.cluster.testbed.shell import run, succeeds
from tests.cluster.testbed.topology import GPU_TAINT, Node, Topology

SANDBOX_IMAGE = "dev.local/pause:dev"
_SOCKET = "/run/containerd/containerd.sock"


def component_name(component: str, node: str) -> str:
    return f"{component}-{node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProcesses:
    state: State
    topology: Topology
    builds: dict[str, Build]
    node: Node

    @property
    def folder(self) -> NodeFolder:
        return self.state.node(self.node.name)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder.settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _run(self, component: str, binary: Path, flags: list[str], **environment: str) -> Component:
        name = component_name(component, self.node.name)
        command = Command(
            name=name,
            argv=(str(binary), *flags),
            home=network.home(self.node.name),
            log=str(self.state.logs / f"{name}.log"),
            environment=environment,
        )
        return processes.start(self.state, command)

    def start_containerd(self) -> None:
        """Starts containerd and waits until it answers."""
        network.create_mounts(self.node.name, self.folder)
        self._write("cni/10-testbed.conflist", self.cni_settings())
        bin_folder = self.builds["containerd"].bin
        path = f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # finds the shim and runc
        settings = self._write("containerd.toml", self.containerd_settings())
        self._run("containerd", bin_folder / "containerd", [f"--config={settings}"], PATH=path)
        self.wait_containerd()

    def wait_containerd(self, seconds: float = 20) -> None:
        containerd = processes.find(self.state, component_name("containerd", self.node.name))
        deadline = time.monotonic() + seconds
        while not succeeds(self.ctr("version")):
            if not containerd.alive or time.monotonic() > deadline:
                raise ClusterError(f"{containerd.name} does not answer: {last_words(Path(containerd.command.log))}")
            time.sleep(0.1)

    def ctr(self, *arguments: str) -> list[str]:
        """A ctr command against this node. The host sees the socket below the node's folder."""
        ctr = str(self.builds["containerd"].binary("ctr"))
        return [ctr, "--address", str(self.folder.containerd_socket), "--namespace", "k8s.io", *arguments]

    def import_image(self, archive: Path) -> None:
        run([*self.ctr("images", "import"), str(archive)])

    def start_kubelet(self) -> None:
        """Starts kubelet and kube-proxy; the API server must answer."""
        kubernetes, pki = self.builds["kubernetes"], self.state.pki
        self._write("resolv.conf", f"nameserver {self.topology.control}\n")
        settings = self._write("kubelet.json", json.dumps(self.kubelet_settings(), indent=1))
        labels = ",".join(f"{key}={value}" for key, value in self.node.labels.items())
        flags = [
            f"--config={settings}",
            f"--kubeconfig={pki}/node-{self.node.name}.kubeconfig",
            f"--hostname-override={self.node.name}",
            f"--node-ip={self.node.address}",
            f"--node-labels={labels}",
        ]
        self._run("kubelet", kubernetes.binary("kubelet"), flags)
        settings = self._write("kube-proxy.json", json.dumps(self._kube_proxy(), indent=1))
        self._run("kube-proxy", kubernetes.binary("kube-proxy"), [f"--config={settings}"])

    def cni_settings(self) -> str:
        # Point-to-point links: pods are routed, not bridged, so Services work without the bridge's netfilter hooks.
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": str(self.node.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugins = [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        return json.dumps({"cniVersion": "1.0.0", "name": "testbed", "plugins": plugins}, indent=1)

    def containerd_settings(self) -> str:
        return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
# Off: their sockets and folders lie outside what the node has to itself, and nothing here asks for them.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{_SOCKET}"

[ttrpc]
  address = "{_SOCKET}.ttrpc"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{SANDBOX_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  # Root without CAP_SYS_RESOURCE may not lower a score: give what can be given instead of failing the container.
  restrict_oom_score_adj = true
  disable_apparmor = true
  # Pods' namespaces live and die with the node's own mounts instead of lying in the machine's /run/netns.
  netns_mounts_under_state_dir = true
  enable_cdi = true
  cdi_spec_dirs = ["/var/run/cdi"]

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{self.builds["cni"].bin}"]
    conf_dir = "{self.folder.settings}/cni"

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""

    def kubelet_settings(self) -> dict[str, object]:
        taints = []
        if self.node.gpu and self.topology.gpu_taint:
            key, _, rest = GPU_TAINT.partition("=")
            value, _, effect = rest.partition(":")
            taints = [{"key": key, "value": value, "effect": effect}]
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": str(self.node.address),
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{self.state.pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [str(self.topology.control)],
            "clusterDomain": "cluster.local",
            "resolvConf": f"{self.folder.settings}/resolv.conf",
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "failCgroupV1": False,  # newer kubelets refuse version 1 unless told so
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroups.kubelet_root(self.node.name),
            "failSwapOn": False,
            "oomScoreAdj": 0,  # may not be lowered without CAP_SYS_RESOURCE
            "maxOpenFiles": 20000,  # likewise
            "volumePluginDir": f"{self.folder.settings}/volume-plugins",
            "registerWithTaints": taints,
            # Renewed every quarter of it, so that a lost node is seen soon; see NODE_GRACE_SECONDS. How often the
            # status itself is pushed (10 s) stays upstream's: the design measures against it.
            "nodeLeaseDurationSeconds": 8,
            # The nodes share the machine's disk with everything else on it: do not evict before it is really full.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.inodesFree": "1%",
            },
            # No registry gives back what garbage collection would throw away.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        }

    def _kube_proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": f"{self.state.pki}/proxy.kubeconfig"},
            "mode": "iptables",
            "clusterCIDR": str(self.topology.pod_network),
            "hostnameOverride": self.node.name,
            "bindAddress": str(self.node.address),
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            # These limits are the machine's, not the namespace's: leave them alone.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
