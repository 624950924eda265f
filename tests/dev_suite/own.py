"""A `dev` of a test's own: one that it breaks, ends or keeps the files of. One small node, and any ports."""

from pathlib import Path
from typing import Final

from tests.cluster.api import Api
from tests.cluster.function import Function
from tests.dev.client import Client
from tests.dev_suite.conftest import client
from tests.dev_suite.running import Started

OPTIONS: Final = ("--gpus", "1xA100-40GB", "--speed", "10", "--port", "0", "--api-port", "0")
NAMESPACE: Final = "default"


def api_of(dev: Started) -> Api:
    return Api.of_kubeconfig(dev.running.kubeconfig)


def client_of(dev: Started, name: str, home: Path) -> Client:
    return client(name, dev.running, home, NAMESPACE)


def function_of(dev: Started, name: str) -> Function:
    running = dev.running
    return Function(name=name, namespace=NAMESPACE, api=api_of(dev), gateway=running.gateway, domain="localhost")
