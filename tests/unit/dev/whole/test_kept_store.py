"""`dev`'s API server over what a run before has kept."""

from pathlib import Path

import pytest

from knative_mig.dev.api.store import Forgotten
from knative_mig.dev.whole import kept_store
from tests.rigs.api_server import CONFIG_MAPS, GPU_NODES, PODS, Rig


def rig_on(path: Path) -> Rig:
    store, _ = kept_store.opened(path, pytest.fail)
    return Rig(store=store)


def test_a_second_run_has_the_objects_of_the_first_and_goes_on_with_its_versions(tmp_path: Path) -> None:
    path = tmp_path / "objects.log"
    first = rig_on(path)
    made = first.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "é"}})
    node = {
        "apiVersion": "knative-mig.dev/v1alpha1",
        "kind": "GpuNode",
        "metadata": {"name": "n"},
        "spec": {"fencingToken": 1, "gpus": []},
    }
    gpus = first.call("POST", GPU_NODES, node)
    container = {"name": "c", "image": "i"}
    first.call("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    newest = first.server.store.version

    second = rig_on(path)  # the first was killed: nobody closed the file
    assert second.call("GET", f"{CONFIG_MAPS}/a") == made
    assert second.call("GET", f"{GPU_NODES}/n") == gpus
    assert second.call("GET", PODS)["items"] == []
    later = second.call("POST", CONFIG_MAPS, {"metadata": {"name": "b"}})
    assert int(later["metadata"]["resourceVersion"]) > newest
    with pytest.raises(Forgotten):  # whoever watched the first run lists anew
        second.server.store.since("configmaps", int(made["metadata"]["resourceVersion"]))


def test_a_torn_end_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "objects.log", list[str]()
    rig_on(path)
    with path.open("ab") as file:
        file.write(b"01234567 {")
    kept_store.opened(path, told.append)
    assert told == [f"{path}: its last line was torn (10 bytes) and is cut off"]
