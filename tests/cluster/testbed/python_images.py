"""Images of Python programs: Debian's interpreter, pinned wheels, and the project's own wheel on top.

The interpreter and the dependencies are one image (`base`), the project another that stands on it: a change of our code
gives nodes a small layer to unpack. Sources are compiled at build time with hash-based .pyc files that are never
checked: times are zero in a layer, and without .pyc files each start would compile anew.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.cluster.testbed import debian
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.images import REGISTRY, Image
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.scratch import publish, scratch
from tests.cluster.testbed.shell import run

# The C++ library is what compiled wheels (numpy, grpcio) are linked against.
_PACKAGES: Final = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "ca-certificates")
PYTHON: Final = "/usr/bin/python3.11"
_SITE: Final = "/usr/local/lib/python3.11/dist-packages"  # on Debian's sys.path
_PIP: Final = ("-m", "pip", "--quiet", "--disable-pip-version-check")
# What pip writes about the installation itself: paths and order that differ from one to the next.
_PIP_NOTES: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def base(requirements: Path, cache: Cache, *, packages: tuple[str, ...] = ()) -> Image:
    """Interpreter and dependencies. `requirements` is a file of hash-pinned wheels."""
    system = debian.unpacked((*_PACKAGES, *packages), cache.downloads)
    key = hashlib.sha256(requirements.read_bytes() + system.name.encode()).hexdigest()[:16]

    def install(site: Path) -> None:
        _pip("install", "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements), target=site)

    wheels = _site(cache, f"python-{key}", system, install)
    libraries = _site_of_interpreter(cache, system)
    return Image(
        name=f"{REGISTRY}/python-{key}:dev",
        entrypoint=(PYTHON,),
        trees=(("/", libraries), (_SITE, wheels)),
        environment=(("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1")),
        workdir="/home/nonroot",
    )


def chosen(requirements: Path, names: tuple[str, ...], cache: Cache) -> Path:
    """Of a file of pinned wheels those of these names, in a file of their own: with all they depend on, or an import
    fails.
    """
    entries = re.split(r"^(?=[a-z0-9])", requirements.read_text(), flags=re.MULTILINE)
    found = [each for each in entries if each.partition("==")[0] in names]
    if missing := set(names) - {each.partition("==")[0] for each in found}:
        raise BadInputError(f"{requirements} pins no {', '.join(sorted(missing))}")
    text = "".join(found)
    finished = cache.downloads / f"wheels-{hashlib.sha256(text.encode()).hexdigest()[:16]}.txt"
    if not finished.exists():
        with scratch(cache.downloads, finished.name) as half_done:
            (half_done / finished.name).write_text(text)
            publish(half_done / finished.name, finished)
    return finished


def project(name: str, base_image: Image, source: Path, cache: Cache, *, module: str | None = None) -> Image:
    """The wheel built from the project in `source`, on `base_image`; starts `python -m <module>` if one is named."""
    with scratch(cache.downloads, "wheel") as half_done:
        argv = [sys.executable, *_PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(half_done)]
        run([*argv, source], env={"SOURCE_DATE_EPOCH": "315532800"})  # 1980, the first that a zip can hold
        (wheel,) = half_done.glob("*.whl")
        key = hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
        system = debian.unpacked(_PACKAGES, cache.downloads)

        def install(site: Path) -> None:
            _pip("install", "--no-deps", "--no-index", str(wheel), target=site)

        site = _site(cache, f"project-{key}", system, install)
    return Image(
        name=name,
        entrypoint=(PYTHON, "-m", module) if module else (PYTHON,),
        trees=((_SITE, site),),
        workdir=base_image.workdir,
        base=base_image,
    )


def _pip(*arguments: str, target: Path) -> None:
    platform = ["--python-version", "3.11", "--implementation", "cp", "--no-compile", "--target", str(target)]
    if "--no-deps" not in arguments:
        platform.append("--no-deps")  # a pinned file names them all
    try:
        run([sys.executable, *_PIP, *arguments, *platform])
    except ClusterError as error:
        raise BadInputError(f"pip cannot install the wheels of an image: {error}") from None


def _site(cache: Cache, name: str, system: Path, install: Callable[[Path], None]) -> Path:
    """A folder of installed and compiled packages in the cache."""
    finished = cache.downloads / name
    if finished.is_dir():
        return finished
    with scratch(cache.downloads, name) as half_done:
        site = half_done / "site"
        site.mkdir()
        install(site)
        for folder in site.glob("*.dist-info"):
            for note in _PIP_NOTES:
                (folder / note).unlink(missing_ok=True)
        shutil.rmtree(site / "bin", ignore_errors=True)  # start scripts that name this machine's interpreter
        _compile(site, _SITE, system)
        publish(site, finished)
    return finished


def _site_of_interpreter(cache: Cache, system: Path) -> Path:
    """The Debian packages with their standard library compiled."""
    finished = cache.downloads / f"{system.name}-compiled"
    if finished.is_dir():
        return finished
    with scratch(cache.downloads, system.name) as half_done:
        copy = half_done / "root"
        shutil.copytree(system, copy, symlinks=True)
        _compile(copy / "usr" / "lib" / "python3.11", "/usr/lib/python3.11", system)
        publish(copy, finished)
    return finished


def _compile(folder: Path, place: str, system: Path) -> None:
    """Compiles with the image's own interpreter: byte code is good for one version of Python only."""
    loader, libraries = system / "lib64" / "ld-linux-x86-64.so.2", system / "lib" / "x86_64-linux-gnu"
    search = f"{libraries}:{system}/usr/lib/x86_64-linux-gnu"
    python = [str(loader.resolve()), "--library-path", search, f"{system}{PYTHON}"]
    flags = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", place]
    # Hash randomisation would order sets in byte code differently each time.
    run([*python, *flags, str(folder)], env={"PYTHONHASHSEED": "0", "PYTHONHOME": f"{system}/usr"})
