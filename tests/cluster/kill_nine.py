"""Kills `make cluster-up` at random moments and checks that the next one works, and that `cluster-down` leaves nothing.

Half of the kills take the whole process group, as a closed terminal or an out-of-memory killer does; the others take
`make` alone, whose child then goes on to its end while the next one already waits for it.

    python -m tests.cluster.kill_nine --rounds 10 --seed 1

Takes some minutes and the machine's one cluster, so it is run by hand (`make campaign-kill-nine`) and before a release,
not with the suite.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.testbed import preflight
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.topology import CGROUP

# From the first sweep to the last wait of a boot with built binaries.
_LATEST = 22.0
_FOLDERS = ("/run", "/var/lib", "/var/log", "/var/tmp", "/opt")  # noqa: S108


def traces() -> dict[str, set[str]]:
    """What of the machine a cluster may change. Two of these are compared."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    groups = {path for path in Path("/sys/fs/cgroup").glob("**/") if {"kubepods", CGROUP} & set(path.parts)}
    rules = run(["iptables-save"]).splitlines() if shutil.which("iptables-save") else []
    return {
        "mounts": {line.split()[4] for line in mounts},
        "cgroups": {str(path) for path in groups},
        "processes": _processes(),
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "namespaces": {path.name for path in Path("/run/netns").glob("*")},
        "firewall": {line for line in rules if line.startswith("-A")},
        "folders": {str(path) for root in _FOLDERS for path in Path(root).iterdir()},
    }


def _processes() -> set[str]:
    words = ("containerd", "kubelet", "kube-", "etcd", "coredns", CGROUP)
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(word in command for word in words):
                    found.add(f"{folder.name} {command[:100]}")
    return found


def make(target: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["make", "--no-print-directory", target], start_new_session=True)


def kill(running: "subprocess.Popen[bytes]", *, whole_group: bool) -> None:
    if whole_group:
        os.killpg(running.pid, signal.SIGKILL)
    else:
        running.kill()
    running.wait()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        preflight.require_root()
    except ClusterError as error:
        sys.stderr.write(f"kill_nine: {error}\n")
        return error.exit_code
    chance = random.Random(arguments.seed)
    failed = 0
    make("cluster-down").wait()
    before = traces()
    for number in range(1, arguments.rounds + 1):
        moment, whole_group = chance.uniform(0.1, _LATEST), chance.random() < 0.5
        killed = make("cluster-up")
        time.sleep(moment)
        kill(killed, whole_group=whole_group)
        begun = time.monotonic()
        works = make("cluster-up").wait() == 0 and make("cluster-status").wait() == 0
        took = time.monotonic() - begun
        # Every other round ends a half-way run instead of a whole one.
        if number % 2 == 0:
            make("cluster-down").wait()
            halfway = make("cluster-up")
            time.sleep(chance.uniform(0.1, _LATEST))
            kill(halfway, whole_group=True)
        begun = time.monotonic()
        make("cluster-down").wait()
        down = time.monotonic() - begun
        after = traces()
        left = {kind: sorted(after[kind] - before[kind])[:5] for kind in before if after[kind] - before[kind]}
        failed += not works or bool(left)
        sys.stdout.write(
            f"round {number}: {'all' if whole_group else 'make'} killed at {moment:.1f} s; "
            f"next up {'works' if works else 'FAILS'} ({took:.1f} s); down {down:.1f} s leaves {left or 'nothing'}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{arguments.rounds - failed} of {arguments.rounds} rounds are clean\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
