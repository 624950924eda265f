"""`make e2e`: boots a cluster, runs the suite on it, takes it down. `KEEP=1` leaves it up, `KIND=1` uses kind.

    python -m tests.cluster.e2e [--keep] [--kind] [pytest's arguments]

Exit codes: pytest's; 2 where this machine or this call is not fit, with a line that says what to install.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from tests.cluster import kind
from tests.cluster.driver import DRIVER_VARIABLE
from tests.cluster.testbed import boot, lifecycle, status
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.progress import Progress

# More workers than cores: tests mostly wait, for a window to pass or a pod to drain.
_WORKERS = 4


def pytest_command(*, on_kind: bool, arguments: Sequence[str]) -> list[str]:
    # Tests are handed out one at a time, in their order: the long ones first, those that must be alone last.
    spread = [f"--numprocesses={_WORKERS}", "--dist=load", "--maxschedchunk=1"]
    marks = ["-m", "not testbed_only"] if on_kind else []
    return [sys.executable, "-m", "pytest", "tests/cluster", *spread, *marks, *arguments]


def _suite(*, on_kind: bool, arguments: Sequence[str]) -> int:
    environment = {**os.environ, **({DRIVER_VARIABLE: "kind"} if on_kind else {})}
    return subprocess.run(pytest_command(on_kind=on_kind, arguments=arguments), env=environment, check=False).returncode


def _on_kind(*, keep: bool, arguments: Sequence[str]) -> int:
    kind.require_tools()
    cluster = kind.Kind()
    cluster.up()
    try:
        return _suite(on_kind=True, arguments=arguments)
    finally:
        if not keep:
            cluster.down()


def _on_testbed(*, keep: bool, arguments: Sequence[str]) -> int:
    progress = Progress()
    running = lifecycle.up(Cluster(), progress, with_eventing=False)
    status.wait_healthy()
    sys.stdout.writelines(f"{line}\n" for line in boot.report(running, progress))
    sys.stdout.flush()
    try:
        return _suite(on_kind=False, arguments=arguments)
    finally:
        if keep:
            sys.stdout.write(f"the cluster stays up: . {running.state.environment}; make cluster-down\n")
        else:
            lifecycle.down(Cluster(), Progress())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.e2e", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--kind", action="store_true", help="on kind, where images can be pulled")
    chosen, arguments = parser.parse_known_args()
    try:
        return (_on_kind if chosen.kind else _on_testbed)(keep=chosen.keep, arguments=arguments)
    except ClusterError as error:
        sys.stderr.write(f"e2e: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
