"""The real kubectl and kn, built from the Go module proxy as for the test cluster: `make clients` (Go, minutes, once).

`found` is what the fixtures of this folder ask for; a test whose client is not built is skipped with that command.
"""

import sys
from pathlib import Path
from typing import Final

from tests.cluster.testbed.build import build, go_version, located, require_go
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.layout import Cache
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.versions import versions

COMPONENT_OF: Final = {"kubectl": "kubernetes", "kn": "kn"}


def found(name: str) -> Path | None:
    """None: it is not built, or nobody can say for which Go."""
    component = versions().components[COMPONENT_OF[name]]
    try:
        binary = located(Cache.from_environment(), component, go_version()).binary(name)
    except ClusterError:
        return None
    return binary if binary.exists() else None


def main() -> int:
    try:
        go = go_version()
        require_go(go, versions().go)
        for name in COMPONENT_OF.values():
            build(Cache.from_environment(), versions().components[name], go, Progress())
    except ClusterError as error:
        sys.stderr.write(f"clients: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
