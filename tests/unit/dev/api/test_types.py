"""The committed tables of types, as schemas and back to the documents that clients read."""

import pytest

from knative_mig.dev.api import types
from knative_mig.dev.api.kinds import BUILT_IN, Kind
from knative_mig.dev.api.schema import Schema, public_name, references, written

_TYPES = types.committed()


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.type)
def test_every_kind_has_its_type_and_all_that_it_leads_to(kind: Kind) -> None:
    todo, seen = [kind.type], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            schema = _TYPES.named(name)
            assert schema != Schema(preserves=True) or name in ("api.resource.Quantity", *_ANY), name
            todo += references(schema)
    assert "meta.v1.ObjectMeta" in seen
    assert {"apiVersion", "kind", "metadata"} <= _TYPES.named(kind.type).properties.keys()


_ANY = tuple(
    f"apiextensions.v1.JSON{each}"
    for each in ("", "SchemaPropsOrArray", "SchemaPropsOrBool", "SchemaPropsOrStringArray")
)


def test_a_line_says_all_of_a_field() -> None:
    load = types.table(
        """# a comment
a.B map=atomic
  c@3*! integer/int32 min=1 max=9
  d@1.2 [a.E] list=map keys=x,y patch=merge key=x
  f {string} default={"g":"h"}
  i string enum=["j","k"] pattern=^x$
a.E = string/date-time
"""
    )
    found = load("a.B")
    assert found
    c, d, f, i = (found.properties[name] for name in ("c", "d", "f", "i"))
    assert (found.atomic, found.required) == (True, ("c",))
    assert (c.type, c.format, c.minimum, c.maximum) == ("integer", "int32", 1, 9)
    assert found.wires["c"].numbers == (3,)
    assert found.wires["c"].tells_zero
    assert found.wires["d"].numbers == (1, 2)
    assert d.items == Schema(ref="a.E")
    assert (d.list_type, d.list_keys, d.merge_strategy, d.merge_key) == ("map", ("x", "y"), "merge", "x")
    assert (f.values, f.default) == (Schema(type="string"), {"g": "h"})
    assert (i.enum, i.pattern) == (("j", "k"), "^x$")
    assert load("a.E") == Schema(type="string", format="date-time")
    assert load("a.X") is None


def test_documents_have_what_merging_clients_need() -> None:
    ports = written(_TYPES.named("core.v1.Container"), "#/")["properties"]["ports"]
    assert ports == {
        "type": "array",
        "items": {"$ref": "#/io.k8s.api.core.v1.ContainerPort"},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-patch-merge-key": "containerPort",
        "x-kubernetes-patch-strategy": "merge",
    }


def test_types_are_called_in_public_as_the_real_one_calls_them() -> None:
    assert public_name("meta.v1.ObjectMeta") == "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    assert public_name("apps.v1.Deployment") == "io.k8s.api.apps.v1.Deployment"
    assert public_name("serving.knative.dev/v1/Service") == "dev.knative.serving.v1.Service"
