"""Writes the kubelet's messages, as Python and as types, from the .proto files beside this script.

Run as `make stubs` after a change of a .proto file; a test runs it into another folder and compares. Only messages are
generated: the services are five methods and two, which `methods.py` names with their types. What protoc would write
for them has no types, and refuses a gRPC library older than the generator.
"""

import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[3]


def generate(into: Path) -> list[Path]:
    """The files written, which lie under `into` as they do under the repository's root."""
    from grpc_tools import protoc  # noqa: PLC0415 - a tool of the development environment

    protos = sorted(FOLDER.glob("*.proto"))
    names = [str(proto.relative_to(ROOT)) for proto in protos]
    if protoc.main(["protoc", f"--proto_path={ROOT}", f"--python_out={into}", f"--pyi_out={into}", *names]) != 0:
        raise SystemExit("protoc refused a .proto file: see above")
    stems = [into / proto.relative_to(ROOT).with_name(f"{proto.stem}_pb2") for proto in protos]
    return [stem.with_suffix(suffix) for stem in stems for suffix in (".py", ".pyi")]


if __name__ == "__main__":
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    for path in generate(into):
        print(path)  # noqa: T201 - a script
