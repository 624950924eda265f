"""Debian packages as parts of an image: resolved with all they depend on, downloaded once, unpacked into one folder.

apt is asked as if nothing were installed, so the answer does not depend on this machine; it checks each file against
Debian's signed index. Maintainer scripts do not run: fine for libraries and interpreters, which is what we take.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Final

from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.scratch import publish, scratch
from tests.cluster.testbed.shell import CommandError, run

# Documentation and build-time files: never opened by what runs on the image.
_LEFT_OUT: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/include", "usr/share/info",
)  # fmt: skip
_PRINTED: Final = re.compile(r"^'[^']+' (?P<file>\S+\.deb) \d+", re.MULTILINE)


def parse_uris(text: str) -> list[str]:
    """File names in the output of `apt-get --print-uris`, sorted; they hold name, version and architecture."""
    return sorted(match["file"] for match in _PRINTED.finditer(text))


def exact(file: str) -> str:
    """`name=version` from a file name such as zlib1g_1%3a1.2.13.dfsg-1_amd64.deb (a colon is written %3a)."""
    name, version, _ = file.split("_")
    return f"{name}={version.replace('%3a', ':')}"


def resolve(names: tuple[str, ...]) -> list[str]:
    as_if_empty = ["-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1"]
    argv = ["apt-get", *as_if_empty, "--print-uris", "--yes", "--no-install-recommends", "install", *names]
    try:
        return parse_uris(run(argv))
    except ClusterError:
        run(["apt-get", "update"])  # the index was never fetched
        return parse_uris(run(argv))


def unpacked(names: tuple[str, ...], downloads: Path) -> Path:
    """A folder with the packages and all they depend on, unpacked; made once per set of versions."""
    try:
        return _unpacked(names, downloads)
    except CommandError as error:
        raise BadInputError(
            f"apt-get cannot fetch {' '.join(names)}: a Debian archive that is reachable must stand in "
            f"/etc/apt/sources.list. {error}"
        ) from None


def _unpacked(names: tuple[str, ...], downloads: Path, *, retry: bool = True) -> Path:
    files = resolve(names)
    if not files:
        raise BadInputError(f"apt-get names no package for {' '.join(names)}: is its index there (apt-get update)?")
    finished = downloads / f"debian-{hashlib.sha256(' '.join(files).encode()).hexdigest()[:16]}"
    if finished.is_dir():
        return finished
    with scratch(downloads, "debian") as folder:
        archives, root = folder / "archives", folder / "root"
        archives.mkdir()
        root.mkdir()
        # apt drops its privileges for a download, and then may not enter this folder; told to keep them, it may.
        argv = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *map(exact, files)]
        try:
            run(argv, cwd=archives)
        except ClusterError:
            if not retry:
                raise
            run(["apt-get", "update"])  # the index is older than the archive, which keeps only the newest files
            return _unpacked(names, downloads, retry=False)
        for path in sorted(archives.iterdir()):
            run(["dpkg-deb", "--extract", path, root])
        for left_out in _LEFT_OUT:
            shutil.rmtree(root / left_out, ignore_errors=True)
        publish(root, finished)
    return finished
