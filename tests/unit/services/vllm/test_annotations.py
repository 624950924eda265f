"""The pod's annotations, as the downward API writes them."""

from pathlib import Path

import pytest

from knative_mig.core.errors import BadInput
from services.vllm.annotations import Lengths, lengths, read

FILE = """\
autoscaling.knative.dev/target="8"
knative-mig.dev/input-tokens="1155"
knative-mig.dev/output-tokens="211"
knative-mig.dev/slo-tpot-ms="50"
kubernetes.io/config.source="a \\"quoted\\" = text\\nof two lines"
"""


def test_of_all_annotations_those_count_that_say_how_long_requests_are() -> None:
    assert lengths(FILE) == Lengths(input_tokens=1155, output_tokens=211)
    assert lengths("") == Lengths(input_tokens=None, output_tokens=None)


@pytest.mark.parametrize("value", ['"0"', '"many"', "12", '"12', ""])
def test_what_admission_would_refuse_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match=r"input-tokens.*legal is a whole number"):
        lengths(f"knative-mig.dev/input-tokens={value}\n")


def test_a_pod_that_does_not_show_its_annotations_has_said_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "annotations") == Lengths()
    (tmp_path / "annotations").write_text(FILE)
    assert read(tmp_path / "annotations") == lengths(FILE)
    (tmp_path / "annotations").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="holds no annotations"):
        read(tmp_path / "annotations")
    with pytest.raises(BadInput, match="holds no annotations"):
        read(tmp_path)
