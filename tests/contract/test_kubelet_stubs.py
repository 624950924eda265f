"""The committed messages are what the .proto files beside them say."""

from pathlib import Path

from knative_mig.adapters.kubelet.stubs.generate import ROOT, generate


def test_messages_are_those_of_the_proto_files(tmp_path: Path) -> None:
    written = generate(tmp_path)
    assert len(written) == 4
    for path in written:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"{committed.name} is not what `make stubs` writes"
