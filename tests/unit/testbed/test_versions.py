"""versions.toml is the one place to bump: the modules agree with it."""

import pytest

from tests.cluster.testbed.build import build_key, require_go
from tests.cluster.testbed.versions import Component, behind, disagreements, libraries, versions

UPSTREAM = [component for component in versions().components.values() if component.module]


@pytest.mark.parametrize("component", UPSTREAM, ids=lambda c: c.name)
def test_go_mod_agrees(component: Component) -> None:
    assert disagreements(component, (component.folder / "go.mod").read_text()) == []


@pytest.mark.parametrize("component", UPSTREAM, ids=lambda c: c.name)
def test_the_go_version_is_enough_for_every_module(component: Component) -> None:
    for line in (component.folder / "go.mod").read_text().splitlines():
        if line.startswith("go "):
            require_go(f"go{versions().go}", line.removeprefix("go "))


def test_a_difference_is_named() -> None:
    component = Component(name="x", module="example.org/x", version="v2.0.0", staging="v0.2.0")
    go_mod = "require example.org/x v1.0.0\nreplace (\n\tk8s.io/api => k8s.io/api v0.1.0\n)\n"
    assert disagreements(component, go_mod) == [
        "example.org/x is v1.0.0, not v2.0.0",
        "k8s.io modules are replaced by ['v0.1.0'], not v0.2.0",
    ]
    assert disagreements(component, "")[0] == "example.org/x is missing, not v2.0.0"


def test_a_library_of_another_version_than_beside_it_is_named() -> None:
    component = Component(name="x", module="example.org/x", version="v2.0.0", beside="serving")
    serving = libraries((versions().components["serving"].folder / "go.mod").read_text())
    same, other = f"k8s.io/api {serving['k8s.io/api']}", "k8s.io/client-go v0.1.0"
    go_mod = (
        f"require (\n\texample.org/x v2.0.0\n\t{same} // indirect\n\t{other} // indirect\n\texample.org/y v1.0.0\n)"
    )
    assert behind(component, go_mod) == {"k8s.io/client-go": serving["k8s.io/client-go"]}
    assert disagreements(component, go_mod) == ["k8s.io/client-go not as in serving"]


def test_a_build_is_another_one_for_another_go_or_other_sources() -> None:
    components = versions().components
    keys = {build_key(components[name], go) for name in ("etcd", "cni") for go in ("go1.26.6", "go1.26.7")}
    assert len(keys) == 4
