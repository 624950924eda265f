"""etcd, API server, controller-manager, scheduler and CoreDNS, as processes in the control plane's network namespace.

`start` brings up etcd and the API server; `start_controllers` the rest, which needs an API server that answers.
Flags differ from the defaults only where a comment says why.
"""

import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import network, processes
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.processes import Command, Component
from tests.cluster.testbed.topology import CONTROL, Topology

# A node that sends no lease for this long is NotReady; kubelets of the test cluster renew theirs every 2 s (node.py).
# Upstream's 50 s would make each test of a lost node a minute longer.
NODE_GRACE_SECONDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    state: State
    topology: Topology
    builds: dict[str, Build]

    def start(self) -> None:
        self._run("etcd", self.builds["etcd"].binary("server"), self._etcd())
        self._run("kube-apiserver", self.builds["kubernetes"].binary("kube-apiserver"), self._api_server())

    def start_controllers(self) -> None:
        kubernetes = self.builds["kubernetes"]
        self._run("kube-controller-manager", kubernetes.binary("kube-controller-manager"), self._controller_manager())
        self._run("kube-scheduler", kubernetes.binary("kube-scheduler"), self._client("scheduler"))
        corefile = self.state.root / "Corefile"
        corefile.write_text(self.corefile())
        self._run("coredns", self.builds["coredns"].binary("coredns"), [f"-conf={corefile}"])

    def _run(self, name: str, binary: Path, flags: list[str]) -> Component:
        command = Command(
            name=name,
            argv=(str(binary), *flags),
            home=network.home(CONTROL),
            log=str(self.state.logs / f"{name}.log"),
            environment={},
        )
        return processes.start(self.state, command)

    def _etcd(self) -> list[str]:
        clients, peers = f"http://{self.topology.control}:2379", f"http://{self.topology.control}:2380"
        return [
            "--name=testbed",
            f"--data-dir={self.state.root}/etcd",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=testbed={peers}",
            # The data lives no longer than the cluster. A killed etcd loses nothing by it, only a machine that stops.
            "--unsafe-no-fsync",
        ]

    def _api_server(self) -> list[str]:
        pki, address = self.state.pki, self.topology.control
        return [
            f"--etcd-servers=http://{address}:2379",
            f"--advertise-address={address}",
            f"--bind-address={address}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={self.topology.service_network}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            # Nothing resolves the nodes' host names; logs and exec go to their addresses.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            # Aggregated APIs: whom the extension server is to trust as the front proxy, and with which headers.
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            # The control plane runs no kube-proxy: reach webhooks and aggregated APIs at their endpoints.
            "--enable-aggregator-routing=true",
            # Pods leave a lost node after 10 s instead of 300: tests of node loss take seconds.
            "--default-not-ready-toleration-seconds=10",
            "--default-unreachable-toleration-seconds=10",
            "--profiling=false",
        ]

    def _client(self, name: str) -> list[str]:
        """Flags that the two controllers share. One copy of each runs: a lease would only delay its start."""
        kubeconfig = self.state.pki / f"{name}.kubeconfig"
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ]

    def _controller_manager(self) -> list[str]:
        pki = self.state.pki
        return [
            *self._client("controller-manager"),
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/sa.key",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",  # each node's CNI settings carry its pod network
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
            "--node-monitor-period=1s",
            # A boot creates some hundred objects at once; upstream's 20 a second would be what it waits for.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def corefile(self) -> str:
        """The cluster's names; the functions' public names, whose address is part of the name; nothing else.

        There is no upstream to ask, so the rest is answered NXDOMAIN instead of timing out.
        """
        octets = r"(?P<a>[0-9]+)[.](?P<b>[0-9]+)[.](?P<c>[0-9]+)[.](?P<d>[0-9]+)"
        return f"""cluster.local:53 in-addr.arpa:53 {{
  bind {self.topology.control}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {self.state.pki}/coredns.kubeconfig
  }}
  cache 2
}}
sslip.io:53 {{
  bind {self.topology.control}
  template IN A sslip.io {{
    match (^|[.]){octets}[.]sslip[.]io[.]$
    answer "{{{{ .Name }}}} 60 IN A {{{{ .Group.a }}}}.{{{{ .Group.b }}}}.{{{{ .Group.c }}}}.{{{{ .Group.d }}}}"
  }}
  template IN ANY sslip.io {{
    rcode NOERROR
  }}
}}
.:53 {{
  bind {self.topology.control}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""

    def ready(self) -> str | None:
        """None when the API server answers /readyz; else why not."""
        pki = self.state.pki
        try:
            context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
            with urllib.request.urlopen(f"{self.topology.api_server}/readyz", context=context, timeout=2):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            return f"/readyz answers {error.code}"
        except OSError as error:
            return str(error)

    def wait_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (reason := self.ready()) is not None:
            for name in ("etcd", "kube-apiserver"):
                if not processes.find(self.state, name).alive:
                    raise ClusterError(f"{name} ended at once: {last_words(self.state.logs / f'{name}.log')}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the API server is not ready after {seconds:.0f} s: {reason}; see {self.state.logs}"
                )
            time.sleep(0.1)


def last_words(log: Path, lines: int = 2) -> str:
    """The end of a log, on one line."""
    try:
        words = log.read_text(errors="replace").strip().splitlines()[-lines:]
    except OSError:
        words = []
    return " | ".join(line[:300] for line in words) or f"{log} is empty"
