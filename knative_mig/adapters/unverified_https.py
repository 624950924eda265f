"""HTTPS to a server of whose certificate nobody knows anything: a kubelet's probes. Called by `dev.node.probing`."""

import http.client
import ssl


def connection(host: str, port: int, *, timeout_s: float) -> http.client.HTTPSConnection:
    """Whoever answers is believed."""
    unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - as the kubelet, which knows no authority
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=unchecked)
