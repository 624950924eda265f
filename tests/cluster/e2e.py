"""`make e2e`: boots a cluster, runs the suite on it, takes it down. `KEEP=1` leaves it up, `KIND=1` uses kind.

    python -m tests.cluster.e2e [--keep] [--kind] [pytest's arguments]

Exit codes: pytest's; 2 where this machine or this call is not fit, with a line that says what to install.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import kind
from tests.cluster.driver import DRIVER_VARIABLE
from tests.cluster.testbed import boot, lifecycle, status
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.progress import Progress

# More workers than cores: tests mostly wait, for a window to pass or a pod to drain.
_WORKERS = 4


def pytest_command(*, on_kind: bool, arguments: Sequence[str]) -> list[str]:
    """The whole suite, or the files and tests that the arguments name."""
    # Tests are handed out one at a time, in their order: the long ones first, those that must be alone last.
    spread = [f"--numprocesses={_WORKERS}", "--dist=load", "--maxschedchunk=1"]
    marks = ["-m", "not testbed_only"] if on_kind else []
    suite = [] if any(_names_tests(word) for word in arguments) else ["tests/cluster"]
    return [sys.executable, "-m", "pytest", *suite, *spread, *marks, *arguments]


def _names_tests(word: str) -> bool:
    """`tests/cluster/test_recorder.py` or one of its tests; BadInputError where it would be one and is not there."""
    path = Path(word.partition("::")[0])
    inside = path.parts[:2] == ("tests", "cluster")
    if inside and not path.exists():
        raise BadInputError(f"{path} is not there: name a file of tests/cluster, or choose tests by -k")
    return inside


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
    cluster = Cluster()
    try:
        _boot(cluster)
        code = _suite(on_kind=False, arguments=arguments)
    except BadInputError:
        keep = True  # nothing was started: what is there stays as it is
        raise
    except ClusterError:
        if not keep:
            _keep_logs(cluster.state.logs)
        raise
    finally:
        if not keep:
            lifecycle.down(cluster.state, cluster.cache, Progress())
    if keep:
        sys.stdout.write(f"the cluster stays up: . {cluster.state.environment}; make cluster-down\n")
    return code


def _boot(cluster: Cluster) -> None:
    progress = Progress()
    running = lifecycle.up(cluster, progress, with_eventing=False)
    status.wait_healthy()
    sys.stdout.writelines(f"{line}\n" for line in boot.report(running, progress))
    sys.stdout.flush()


def _keep_logs(logs: Path) -> None:
    """The sweep that follows takes them, and they say why the cluster did not come up."""
    kept = Path("build/e2e/failed-boot")
    shutil.rmtree(kept, ignore_errors=True)
    if logs.is_dir():
        shutil.copytree(logs, kept)
        sys.stdout.write(f"logs of the components: {kept}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.e2e", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--kind", action="store_true", help="on kind, where images can be pulled")
    chosen, arguments = parser.parse_known_args()
    try:
        pytest_command(on_kind=chosen.kind, arguments=arguments)  # a file that is not there is told before any boot
        return (_on_kind if chosen.kind else _on_testbed)(keep=chosen.keep, arguments=arguments)
    except ClusterError as error:
        sys.stderr.write(f"e2e: {error}\n")
        return error.exit_code
    except OSError as error:  # a disk that is full, a file that may not be written
        sys.stderr.write(f"e2e: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
