"""`python -m tests.cluster.testbed up|down|status|pin`: the command line of the test cluster.

Exit codes: 0 done, 1 something failed, 2 this machine or this call is not fit (one line says what to do).
"""

import argparse
import sys

from tests.cluster.testbed import boot, lifecycle, pins, preflight, status
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.layout import Cache, State
from tests.cluster.testbed.progress import Progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.testbed", description="the test cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build what is missing, boot, wait until all is Ready")
    up.add_argument("--eventing", action="store_true", help="with Knative Eventing; can be added to a running cluster")
    commands.add_parser("down", help="remove everything that up made")
    commands.add_parser("status", help="say what is healthy, and why not")
    commands.add_parser("pin", help="after a change of versions.toml: bring each go.mod and go.sum in line")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    progress = Progress()
    if arguments.command == "down":
        lifecycle.down(State.from_environment(), Cache.from_environment(), progress)
    elif arguments.command == "up":
        running = lifecycle.up(Cluster(), progress, with_eventing=arguments.eventing)
        status.wait_healthy()
        for line in boot.report(running, progress):
            sys.stdout.write(f"{line}\n")
    elif arguments.command == "pin":
        pins.pin(progress)
    else:
        preflight.require_root()
        findings = status.look()
        sys.stdout.writelines(f"{finding}\n" for finding in findings)
        return int(any(finding.trouble for finding in findings))
    return 0


def main() -> int:
    try:
        return _run(_parser().parse_args())
    except ClusterError as error:
        sys.stderr.write(f"testbed: {error}\n")
        return error.exit_code
    except OSError as error:  # a disk that is full, a file that may not be written
        sys.stderr.write(f"testbed: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("testbed: interrupted; `make cluster-down` removes what was started\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
