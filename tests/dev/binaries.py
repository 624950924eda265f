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
# Of a component with more commands than that: the others take minutes, and only the test cluster needs them.
_PACKAGE_OF: Final = {"kubectl": "k8s.io/kubernetes/cmd/kubectl"}


def found(name: str) -> Path | None:
    """Where the test cluster has it, or built alone. None: it is not built, or nobody can say for which Go."""
    component = versions().components[COMPONENT_OF[name]]
    try:
        cache, go = Cache.from_environment(), go_version()
    except ClusterError:
        return None
    for only in ("", _PACKAGE_OF.get(name, "")):
        binary = located(cache, component, go, only=only).binary(name)
        if binary.exists():
            return binary
    return None


def main() -> int:
    try:
        go = go_version()
        require_go(go, versions().go)
        for name, component in COMPONENT_OF.items():
            if found(name) is None:
                only = _PACKAGE_OF.get(name, "")
                build(Cache.from_environment(), versions().components[component], go, Progress(), only=only)
            sys.stdout.write(f"{name}: {found(name)}\n")
    except ClusterError as error:
        sys.stderr.write(f"clients: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
