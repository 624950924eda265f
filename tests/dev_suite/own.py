"""A `dev` of a test's own: one that it breaks, ends or keeps the files of. One small node."""

from pathlib import Path
from typing import Final

from tests.cluster.api import Api
from tests.cluster.function import Function
from tests.dev.client import Client
from tests.dev_suite.conftest import client
from tests.dev_suite.running import At
from tests.rigs.running_dev import RunningDev

OPTIONS: Final = ("--gpus", "1xA100-40GB", "--speed", "10")
NAMESPACE: Final = "default"


def api_of(dev: RunningDev) -> Api:
    return Api.of_kubeconfig(At.of(dev).kubeconfig)


def client_of(dev: RunningDev, name: str, home: Path) -> Client:
    return client(name, At.of(dev), home, NAMESPACE)


def function_of(dev: RunningDev, name: str) -> Function:
    return Function(
        name=name, namespace=NAMESPACE, api=api_of(dev), gateway=f"127.0.0.1:{dev.port}", domain="localhost"
    )
