"""The documents of OpenAPI are made anew when a type is another one, however often it was defined in between."""

import json
from typing import Any

from knative_mig.dev.api.kinds import BUILT_IN, Kinds
from knative_mig.dev.api.openapi import Documents
from knative_mig.dev.api.schema import Schema, Types
from knative_mig.dev.api.types import committed


def test_a_type_that_was_defined_twice_since_the_last_question_is_told_as_it_is() -> None:
    kind = next(iter(BUILT_IN))
    types, kinds = Types(), Kinds()
    kinds.add(kind)
    documents = Documents(kinds, types)
    for at in range(20):
        types.add(kind.type, Schema(type="object", description=f"between, {at}"))
        types.add(kind.type, Schema(type="object", description=f"the last, {at}"))
        assert f"the last, {at}".encode() in (documents.of(kind.root.lstrip("/")) or b"")


def test_what_a_definition_has_in_one_piece_is_told_so_but_for_the_metadata() -> None:
    kinds = Kinds()
    for kind in BUILT_IN:
        kinds.add(kind)
    documents = Documents(kinds, committed())
    schemas = _schemas(documents, "apis/serving.knative.dev/v1")
    service = schemas["dev.knative.serving.v1.Service"]
    assert service["properties"]["metadata"] == {
        "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    }
    template = service["properties"]["spec"]["properties"]["template"]["properties"]
    containers = template["spec"]["properties"]["containers"]
    assert (containers["type"], containers["items"]["type"]) == ("array", "object")
    assert containers["items"]["properties"]["resources"]["type"] == "object"
    assert template["metadata"]["type"] == "object"
    assert not [name for name in schemas if name.startswith("dev.knative.serving.v1.Service.")]
    pod = _schemas(documents, "api/v1")["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}


def _schemas(documents: Documents, root: str) -> dict[str, Any]:
    return dict(json.loads(documents.of(root) or b"")["components"]["schemas"])
