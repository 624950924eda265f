"""Certificates and kubeconfigs of one cluster: two authorities (clients and servers; the front proxy of aggregated
APIs), one key for service-account tokens. Made anew for each cluster with openssl: EC keys take milliseconds.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.testbed.shell import run
from tests.cluster.testbed.topology import Topology

_DAYS: Final = "365"
_CA_EXTENSIONS: Final = (
    "-addext", "basicConstraints=critical,CA:TRUE",
    "-addext", "keyUsage=critical,keyCertSign,cRLSign",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate to sign. `kubeconfig` also writes a kubeconfig that uses it."""

    name: str
    subject: str
    authority: str = "ca"
    usage: str = "clientAuth"
    alternative_names: str = ""
    kubeconfig: bool = False


def identities(topology: Topology) -> list[Identity]:
    service = ["kubernetes", "default", "svc", "cluster", "local"]
    names = [f"DNS:{'.'.join(service[:n])}" for n in (1, 2, 3, 5)]
    addresses = [f"IP:{ip}" for ip in (topology.kubernetes_service, topology.control, "127.0.0.1")]
    return [
        Identity(
            name="apiserver",
            subject="/CN=kube-apiserver",
            usage="serverAuth",
            alternative_names=",".join([*names, "DNS:localhost", *addresses]),
        ),
        Identity(name="kubelet-client", subject="/O=system:masters/CN=apiserver-kubelet-client"),
        Identity(name="front-proxy-client", subject="/CN=front-proxy-client", authority="front-proxy-ca"),
        Identity(name="admin", subject="/O=system:masters/CN=admin", kubeconfig=True),
        Identity(name="controller-manager", subject="/CN=system:kube-controller-manager", kubeconfig=True),
        Identity(name="scheduler", subject="/CN=system:kube-scheduler", kubeconfig=True),
        Identity(name="proxy", subject="/CN=system:kube-proxy", kubeconfig=True),
        Identity(name="coredns", subject="/O=system:masters/CN=coredns", kubeconfig=True),
        *(
            Identity(name=f"node-{n.name}", subject=f"/O=system:nodes/CN=system:node:{n.name}", kubeconfig=True)
            for n in topology.nodes
        ),
    ]


def make(folder: Path, topology: Topology) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        token_key = pool.submit(_token_key, folder)
        list(pool.map(lambda name: _authority(folder, name), ("ca", "front-proxy-ca")))
        list(pool.map(lambda identity: _sign(folder, identity), identities(topology)))
        token_key.result()
    for identity in identities(topology):
        if identity.kubeconfig:
            write_kubeconfig(folder, identity.name, topology.api_server)


def _token_key(folder: Path) -> None:
    run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "sa.key"], cwd=folder)
    run(["openssl", "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub"], cwd=folder)


def _ec_key(folder: Path, name: str) -> None:
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key"], cwd=folder)


def _authority(folder: Path, name: str) -> None:
    _ec_key(folder, name)
    argv = ["openssl", "req", "-x509", "-new", "-key", f"{name}.key", "-days", _DAYS, "-subj", f"/CN={name}"]
    run([*argv, *_CA_EXTENSIONS, "-out", f"{name}.crt"], cwd=folder)


def _sign(folder: Path, identity: Identity) -> None:
    name, authority = identity.name, identity.authority
    _ec_key(folder, name)
    request = run(["openssl", "req", "-new", "-key", f"{name}.key", "-subj", identity.subject], cwd=folder)
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        f"extendedKeyUsage={identity.usage}",
    ]
    if identity.alternative_names:
        extensions.append(f"subjectAltName={identity.alternative_names}")
    (folder / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    # A random serial number each: a shared serial file would make signing in parallel a race.
    run(
        ["openssl", "x509", "-req", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-set_serial",
         f"0x{os.urandom(8).hex()}", "-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt"],
        cwd=folder,
        stdin=request,
    )  # fmt: skip


def write_kubeconfig(folder: Path, name: str, server: str) -> None:
    (folder / f"{name}.kubeconfig").write_text(
        f"""apiVersion: v1
kind: Config
clusters: [{{name: testbed, cluster: {{server: "{server}", certificate-authority: "{folder}/ca.crt"}}}}]
users: [{{name: {name}, user: {{client-certificate: "{folder}/{name}.crt", client-key: "{folder}/{name}.key"}}}}]
contexts: [{{name: testbed, context: {{cluster: testbed, user: {name}}}}}]
current-context: testbed
"""
    )
