import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from knative_mig.cli import yaml_tree
from knative_mig.cli.yaml_input import Field, read
from knative_mig.core.errors import BadInput


@pytest.fixture(params=["libyaml", "pure-python"])
def reading(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], Field]:
    """PyYAML may be built with or without libyaml: both must say the same."""
    loader = yaml.SafeLoader if request.param == "pure-python" else yaml.CSafeLoader
    monkeypatch.setattr(yaml_tree, "_LOADER", loader)
    monkeypatch.chdir(tmp_path)

    def of(data: bytes) -> Field:
        Path("f.yaml").write_bytes(data)
        return read("f.yaml")

    return of


BOMB = b"a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + b"".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n".encode()
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)

BAD = {
    "empty": (b"", "f.yaml: is empty: legal is a YAML mapping"),
    "only-a-comment": (b"# nothing\n", "f.yaml: is empty: legal is a YAML mapping"),
    "only-null": (b"null\n", "f.yaml: is empty: legal is a YAML mapping"),
    "empty-document": (b"---\n...\n", "f.yaml: is empty: legal is a YAML mapping"),
    "two-documents": (b"a: 1\n---\nb: 2\n", "f.yaml:2: a second document begins: legal is one"),
    "latin-1": ("a: é".encode("latin-1"), "f.yaml: is not UTF-8 text (byte 4): legal is YAML in UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), "f.yaml: is not UTF-8 text (byte 1): legal is YAML in UTF-8"),
    "too-large": (b"#" * 10_000_001, "f.yaml: is larger than 10 MB, which is the most that is read"),
    "key-twice": (b"a:\n- b: 1\n  c: 2\n  b: 3\n", "f.yaml:4: a[0].b: stands twice in one mapping, first in line 2"),
    "key-twice-at-the-top": (b"a: 1\na: 2\n", "f.yaml:2: a: stands twice in one mapping, first in line 1"),
    "key-twice-as-number": (b"{1: a, '1': b}", "f.yaml:1: ['1']: stands twice in one mapping, first in line 1"),
    "key-empty": (b"a: {~: 1}", "f.yaml:1: a: a key is empty, a list or a mapping: legal is text"),
    "key-a-list": (b"a: {[1]: 1}", "f.yaml:1: a: a list or mapping is used as a key: legal is text"),
    "key-a-mapping-by-alias": (
        b"a: &a {x: 1}\nb:\n  *a : 1\n",
        "f.yaml:3: b: a key is empty, a list or a mapping: legal is text",
    ),
    "merge-key": (b"a: &a {x: 1}\nb: {<<: *a}\n", "f.yaml:2: b: merge keys (<<) are not read: write the keys out"),
    "tag": (
        b"a: [1, !!python/object:os.system x]",
        ("f.yaml:1: a[1]: the tag 'tag:yaml.org,2002:python/object:os.system' is not read: "
        "legal is plain YAML without tags"),
    ),
    "tag-on-a-list": (b"a: !mine [1]", "f.yaml:1: a: the tag '!mine' is not read: legal is plain YAML without tags"),
    "alias-of-nothing": (b"a:\n  b: *c\n", "f.yaml:2: a.b: *c stands for nothing that is complete before it"),
    "alias-in-itself": (b"a: &a\n  - *a\n", "f.yaml:2: a[0]: *a stands for nothing that is complete before it"),
    "alias-bomb": (BOMB, "f.yaml:6: holds more than 1000000 values (an alias is all it stands for)"),
    "too-deep": (b"[" * 100_000, "f.yaml:1: is nested deeper than 32 levels"),
    "too-deep-in-blocks": (
        "\n".join(" " * at + "a:" for at in range(40)).encode(),
        "f.yaml:33: is nested deeper than 32 levels",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "line"), BAD.values(), ids=BAD.keys())
def test_refuses_with_one_line(reading: Callable[[bytes], Field], data: bytes, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        reading(data)
    assert str(bad.value) == line


NOT_YAML = {
    "tab": b"a:\n\t- 1\n",
    "open-bracket": b"a: [1, 2\n",
    "open-quote": b"a: 'x\n",
    "control-character": b"a: \x00\n",
    "indentation": b"a: 1\n  b: 2\n",
    "bad-escape": b'a: "\\q"\n',
    "unknown-directive-version": b"%YAML 9.9\n---\na: 1\n",
}


@pytest.mark.parametrize("data", NOT_YAML.values(), ids=NOT_YAML.keys())
def test_what_is_not_yaml_is_said_to_be_none(reading: Callable[[bytes], Field], data: bytes) -> None:
    with pytest.raises(BadInput, match=r"\Af\.yaml(:[1-9])?: is not YAML: [^\n]+\Z"):
        reading(data)


def test_a_missing_file_a_folder_and_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no\.yaml: no such file: legal is a YAML file, or - for the standard input"):
        read(str(tmp_path / "no.yaml"))
    with pytest.raises(BadInput, match=": is a directory: legal is a YAML file, or - for the standard input"):
        read(str(tmp_path))
    with pytest.raises(BadInput, match=": cannot be read: File name too long"):
        read("x" * 5000)


SCALARS = {
    "true": True, "False": False, "yes": "yes", "off": "off", "~": None, "": None, "null": None,
    "12": 12, "-3": -3, "+3": 3, "0x10": "0x10", "1_000": "1_000", "1:30": "1:30", "2026-01-01": "2026-01-01",
    "1.5": 1.5, ".5": 0.5, "1.": 1.0, "1e3": 1000.0, "-1E-3": -0.001, "1e308": 1e308, "1e999": math.inf,
    ".inf": math.inf, "-.INF": -math.inf, "'12'": "12", '"true"': "true", "3g.20gb": "3g.20gb",
    "1g.5gb+me": "1g.5gb+me",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=SCALARS.keys())
def test_reads_scalars_as_yaml_1_2_does(reading: Callable[[bytes], Field], text: str, value: object) -> None:
    content = reading(f"a: {text}\n".encode()).mapping()["a"].node.content
    assert content == value
    assert type(content) is type(value)


def test_reads_nan_and_numbers_of_any_length(reading: Callable[[bytes], Field]) -> None:
    fields = reading(b"a: .nan\nb: " + b"9" * 10_000).mapping()
    assert isinstance(nan := fields["a"].node.content, float)
    assert math.isnan(nan)
    with pytest.raises(BadInput, match=r"f\.yaml:2: b: is 1e\+30, legal is a whole number from 0 to 5\Z"):
        fields["b"].integer(0, 5)


def test_a_byte_order_mark_and_aliases_are_no_matter(reading: Callable[[bytes], Field]) -> None:
    fields = reading(b"\xef\xbb\xbfa: &x {n: 1}\nb: *x\n").mapping()
    assert fields["b"].mapping()["n"].path == "b.n"
    assert fields["b"].mapping()["n"].integer(0, 1) == 1


Ask = Callable[[Field], object]
ASKED: dict[str, tuple[str, Ask, str]] = {
    "bool-for-integer": ("true", lambda f: f.integer(0, 9), "is true, legal is a whole number from 0 to 9"),
    "bool-for-number": ("false", lambda f: f.number(0, 9), "is false, legal is a number from 0 to 9"),
    "integer-for-bool": ("1", lambda f: f.flag(), "is 1, legal is true or false"),
    "float-for-integer": ("1.0", lambda f: f.integer(0, 9), "is 1, legal is a whole number from 0 to 9"),
    "nan": (".nan", lambda f: f.number(0, 9), "is nan, legal is a number from 0 to 9"),
    "infinite": (".inf", lambda f: f.number(0, 9), "is inf, legal is a number from 0 to 9"),
    "huge": ("1e308", lambda f: f.number(0, 1e9), "is 1e+308, legal is a number from 0 to 1e+09"),
    "negative": ("-0.5", lambda f: f.number(0, 9), "is -0.5, legal is a number from 0 to 9"),
    "text-for-number": ("'5'", lambda f: f.number(0, 9), "is '5', legal is a number from 0 to 9"),
    "number-for-text": ("5", lambda f: f.text(), "is 5, legal is text (in quotes)"),
    "bool-for-text": ("true", lambda f: f.text(), "is true, legal is text (in quotes)"),
    "null-for-text": ("", lambda f: f.text(), "is empty, legal is text"),
    "list-for-text": ("[]", lambda f: f.text(), "is a list, legal is text"),
    "long-text": ("x" * 300, lambda f: f.text(), "has 300 characters, legal are at most 253"),
    "text-for-list": ("x", lambda f: f.items(), "is 'x', legal is a list"),
    "mapping-for-list": ("{}", lambda f: f.items(), "is a mapping, legal is a list"),
    "list-for-mapping": ("[]", lambda f: f.mapping(), "is a list, legal is a mapping (key: value)"),
    "one-of-two": ("x", lambda f: f.choice("a", "b"), "is 'x', legal is a or b"),
    "one-of-three": ("1", lambda f: f.choice("a", "b", "c"), "is 1, legal is one of a, b, c"),
    "one-of-many": (
        "x",
        lambda f: f.choice(*map(str, range(30))),
        f"is 'x', legal is one of {', '.join(map(str, range(20)))} or 10 more",
    ),
    "line-break-and-escape": ('"a\\n\\e[31m"', lambda f: f.flag(), r"is 'a\n\x1b[31m', legal is true or false"),
    "long-value": ("y" * 100, lambda f: f.flag(), f"is '{'y' * 57}...', legal is true or false"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "ask", "complaint"), ASKED.values(), ids=ASKED.keys())
def test_a_wrong_value_is_told_with_its_place_and_what_is_legal(
    reading: Callable[[bytes], Field], text: str, ask: Ask, complaint: str
) -> None:
    field = reading(f"first: 1\nat: [{{it: {text}}}]\n".encode()).mapping()["at"].items()[0].mapping()["it"]
    with pytest.raises(BadInput) as bad:
        ask(field)
    assert str(bad.value) == f"f.yaml:2: at[0].it: {complaint}"
