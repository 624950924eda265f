"""What a Node's heartbeat needs: nothing that is read from the disk each time."""

import builtins
import errno
import io
import os
from pathlib import Path

import pytest

from knative_mig.adapters.kube.kinds import NODE
from knative_mig.core.inventory import NodeName
from knative_mig.dev.node.fit import Bind, decide
from knative_mig.dev.node.node_object import NodeObject
from knative_mig.dev.node.ports import NodeSettings
from knative_mig.dev.node.scheduler import host, seeker
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi
from tests.unit.dev.node.pods import container, pod


def test_its_status_is_told_where_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NodeSettings(
        name=NodeName("n1"), number=0, folder=tmp_path, sockets=tmp_path, logs=tmp_path, variables={}, labels={}
    )

    def no_file(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with FakeApi() as api:
        node = NodeObject(settings, api.client(), dict, "127.64.0.0/24")
        node.write()
        api.client().delete(NODE, Key("", "n1"))
        with monkeypatch.context() as patched:
            for where, name in ((os, "open"), (os, "listdir"), (os, "scandir"), (io, "open"), (builtins, "open")):
                patched.setattr(where, name, no_file)
            node.write()
        [made] = api.objects(NODE)
    assert made["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("process://")


def test_a_pod_that_asks_for_a_part_of_its_disk_fits(tmp_path: Path) -> None:
    settings = NodeSettings(
        name=NodeName("n1"), number=0, folder=tmp_path, sockets=tmp_path, logs=tmp_path, storage="1024Ki"
    )
    with FakeApi() as api:
        NodeObject(settings, api.client(), dict, "127.64.0.0/24").write()
        [made] = api.objects(NODE)
    assert made["status"]["capacity"]["ephemeral-storage"] == "1024Ki"
    requests = {"ephemeral-storage": "1Mi"}
    [verdict] = decide([seeker(pod(containers=[container(resources={"requests": requests})]))], [host(made)], {})
    assert isinstance(verdict, Bind), verdict
