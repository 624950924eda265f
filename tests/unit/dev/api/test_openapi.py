"""The documents of OpenAPI are made anew when a type is another one, however often it was defined in between."""

from knative_mig.dev.api.kinds import BUILT_IN, Kinds
from knative_mig.dev.api.openapi import Documents
from knative_mig.dev.api.schema import Schema, Types


def test_a_type_that_was_defined_twice_since_the_last_question_is_told_as_it_is() -> None:
    kind = next(iter(BUILT_IN))
    types, kinds = Types(), Kinds()
    kinds.add(kind)
    documents = Documents(kinds, types)
    for at in range(20):
        types.add(kind.type, Schema(type="object", description=f"between, {at}"))
        types.add(kind.type, Schema(type="object", description=f"the last, {at}"))
        assert f"the last, {at}".encode() in (documents.of(kind.root.lstrip("/")) or b"")
