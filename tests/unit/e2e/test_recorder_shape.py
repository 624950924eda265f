from tests.cluster.recorder import merged, shape


def test_a_shape_has_keys_and_types_and_no_values() -> None:
    value = {"kind": "Pod", "metadata": {"name": "secret", "generation": 3, "deleted": None}, "spec": {"ready": True}}
    assert shape(value) == {
        "kind": "Pod",
        "metadata": {"name": "string", "generation": "number", "deleted": "null"},
        "spec": {"ready": "boolean"},
    }


def test_a_list_has_one_shape_that_all_its_items_fit_in() -> None:
    assert shape([{"a": 1}, {"b": "x"}, {"a": "y"}]) == [{"a": "number|string", "b": "string"}]
    assert shape([]) == []
    assert shape({"items": [{"n": []}, {"n": [1]}]}) == {"items": [{"n": ["number"]}]}


def test_field_managers_are_left_out() -> None:
    assert shape({"managedFields": [{"f:spec": {"f:secret": {}}}]}) == {"managedFields": "…"}


def test_merging_keeps_what_only_one_has() -> None:
    assert merged({"a": {"b": "string"}}, {"a": {"c": "number"}}) == {"a": {"b": "string", "c": "number"}}
    assert merged("null", {"a": "string"}) == {"a": "string"}
    assert merged({"a": "string"}, "null") == {"a": "string"}
