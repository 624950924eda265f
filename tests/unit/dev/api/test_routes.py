"""Paths and verbs: what each leads to, and what leads nowhere by its name."""

import json

import pytest

from tests.rigs.api_server import CONFIG_MAPS, Answered, Json, Rig

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nix", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/api/v1/nix", 404),
        ("GET", "/apis/nix.example.com/v1/things", 404),
        ("GET", "/apis/serving.knative.dev/v9/services", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/namespaces/default/pods/p/nix", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/c/status", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/c/x/y", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/api/v1/namespaces//pods", 404),
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps", 405),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/api/v1/namespaces/default/configmaps/c", 405),
        ("DELETE", "/api/v1/namespaces/default/pods/p/status", 405),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        ("OPTIONS", "/api/v1/namespaces", 405),
        ("POST", "/version", 404),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(rig: Rig, method: str, path: str, code: int) -> None:
    status, body, _ = rig.send(method, path)
    refused = json.loads(body)
    assert (status, refused["code"], refused["kind"]) == (code, code, "Status")
    assert f"{method} {path}" in refused["message"]


def test_a_namespace_is_an_object_and_a_place(rig: Rig) -> None:
    assert rig.get("/api/v1/namespaces/default")["kind"] == "Namespace"
    assert rig.get("/api/v1/namespaces/default/status")["kind"] == "Namespace"
    assert rig.get("/api/v1/namespaces/default/configmaps")["kind"] == "ConfigMapList"
    assert rig.get("/api/v1/configmaps")["kind"] == "ConfigMapList"


def test_names_are_unquoted_once(rig: Rig) -> None:
    rig.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", "system:a")
    assert rig.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa")["metadata"]["name"] == "system:a"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_told_in_a_word(rig: Rig, path: str) -> None:
    assert rig.send("GET", path)[:2] == (200, b"ok")


def _resources(found: Json) -> dict[str, Json]:
    return {
        f"{group['metadata'].get('name', '')}/{version['version']}/{each['resource']}": each
        for group in found["items"]
        for version in group["versions"]
        for each in version["resources"]
    }


def test_both_discoveries_say_the_same(rig: Rig) -> None:
    for root in ("/api", "/apis"):
        aggregated = rig.get(root, accept=_AGGREGATED)
        assert aggregated["kind"] == "APIGroupDiscoveryList"
        for name, each in _resources(aggregated).items():
            group, version, plural = name.split("/")
            where = f"/apis/{group}/{version}" if group else f"/api/{version}"
            listed = {entry["name"]: entry for entry in rig.get(where)["resources"]}
            assert listed[plural]["verbs"] == each["verbs"]
            assert listed[plural]["namespaced"] == (each["scope"] == "Namespaced")
            for below in each.get("subresources", ()):
                assert listed[f"{plural}/{below['subresource']}"]["verbs"] == below["verbs"]
    groups = rig.get("/apis")["groups"]
    assert {each["name"] for each in groups} >= {"serving.knative.dev", "knative-mig.dev", "apps"}
    assert rig.get("/apis/apps")["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert rig.get("/api")["versions"] == ["v1"]


def test_whoever_asks_for_documents_is_given_them(rig: Rig) -> None:
    paths = rig.get("/openapi/v3")["paths"]
    where = paths["apis/serving.knative.dev/v1"]["serverRelativeURL"]
    document = rig.get(where)
    patch = document["paths"]["/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}"]["patch"]
    assert "fieldValidation" in [each["name"] for each in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "serving.knative.dev",
        "version": "v1",
        "kind": "Service",
    }
    types = document["components"]["schemas"]
    todo, seen = ["dev.knative.serving.v1.Service"], set()
    while todo:
        name = todo.pop()
        seen.add(name)
        found = [each.split("/")[-1] for each in _references(types[name])]
        todo += [each for each in found if each not in seen]
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in seen
    assert "dev.knative.serving.v1.Service" in rig.get("/openapi/v2")["definitions"]
    with pytest.raises(Answered, match="/openapi/v3/apis/nix"):
        rig.get("/openapi/v3/apis/nix/v1")


def _references(schema: object) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [each for value in schema.values() for each in _references(value)]
    return [each for value in schema for each in _references(value)] if isinstance(schema, list) else []


def test_a_document_changes_its_hash_with_what_it_says(rig: Rig) -> None:
    before = rig.get("/openapi/v3")["paths"]
    assert rig.get("/openapi/v3")["paths"] == before
    rig.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.example.com", spec=_WIDGETS)
    after = rig.get("/openapi/v3")["paths"]
    assert after.keys() - before.keys() == {"apis/example.com/v1"}
    assert after["api/v1"] == before["api/v1"]
    sized = {"type": "object", "properties": {"size": {"type": "integer"}}}
    changed = {"versions": [{**_WIDGETS["versions"][0], "schema": {"openAPIV3Schema": sized}}]}
    rig.merge("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com", {"spec": changed})
    assert rig.get("/openapi/v3")["paths"]["apis/example.com/v1"] != after["apis/example.com/v1"]


_WIDGETS: Json = {
    "group": "example.com",
    "scope": "Namespaced",
    "names": {"kind": "Widget", "plural": "widgets"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
}


def test_a_custom_kind_comes_and_goes_with_its_definition(rig: Rig) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = rig.create(definitions, "widgets.example.com", spec=_WIDGETS)
    assert {each["type"] for each in made["status"]["conditions"]} == {"NamesAccepted", "Established"}
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    rig.create(widgets, "w")
    assert rig.names(widgets) == ["w"]
    rig.delete(f"{definitions}/widgets.example.com")
    with pytest.raises(Answered, match="could not find the requested resource"):
        rig.get(widgets)
    rig.create(definitions, "widgets.example.com", spec=_WIDGETS)
    assert rig.names(widgets) == []


def test_what_ships_is_defined_from_the_start(rig: Rig) -> None:
    names = rig.names("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    assert "gpunodes.knative-mig.dev" in names
    assert "services.serving.knative.dev" in names


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example.com"}, {"host": "evil.example.com:8080"}, {"host": ""}, {"origin": "http://localhost"}],
)
def test_pages_in_a_browser_are_not_served(rig: Rig, headers: dict[str, str]) -> None:
    assert rig.send("GET", CONFIG_MAPS, **headers)[0] == 403


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1", "LOCALHOST", "[::1]:8001"])
def test_this_machines_own_names_are(rig: Rig, host: str) -> None:
    assert rig.send("GET", CONFIG_MAPS, host=host)[0] == 200
