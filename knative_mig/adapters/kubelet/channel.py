"""A gRPC channel to a unix socket of the kubelet's.

Its settings make up for what gRPC assumes of networks: a proxy from the environment, and one connection shared by all
channels to an address, whose back-off would outlast the kubelet's restart.
"""

from pathlib import Path

import grpc


def channel_to(path: Path) -> grpc.Channel:
    return grpc.insecure_channel(
        f"unix://{path}",
        options=(
            ("grpc.default_authority", "localhost"),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ),
    )
