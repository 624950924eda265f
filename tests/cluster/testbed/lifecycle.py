"""Up and down.

`up` may be killed at any moment and run again: it knows a whole cluster by `ready.json`, which is written last, and
sweeps anything less away. One `up` or `down` runs at a time on a machine.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster.testbed import cgroups, network, packages, preflight, processes, system_images
from tests.cluster.testbed.boot import add_eventing, boot
from tests.cluster.testbed.build import Build, build, go_version, located, require_go
from tests.cluster.testbed.cluster import Cluster, Ready, recorded
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.layout import LOCK, RUN, STATE_POINTER, STATE_VARIABLE, Cache, State
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.versions import versions

# As long as a build from nothing may take: who waits longer waits for something that hangs.
_LONGEST_RUN: Final = 1200.0
_DOWN_BUDGET: Final = 15


@contextmanager
def only_one(progress: Progress) -> Iterator[None]:
    """Holds the machine-wide lock, which ends with the process that holds it, however that ends.

    Waits for another run: one whose `make` was killed goes on to its end all the same.
    """
    descriptor = _take_lock(progress)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def runs_now() -> str | None:
    """The process that is bringing the cluster up or down, if one is."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 20, 0).decode() or "unknown"
    else:
        return None
    finally:
        os.close(descriptor)


def _take_lock(progress: Progress) -> int:
    deadline = time.monotonic() + _LONGEST_RUN
    told = False
    while True:
        RUN.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # `down` deletes the folder at its end
            descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == LOCK.stat().st_ino:
                    return descriptor
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode() or "unknown"
                if time.monotonic() > deadline:
                    raise BadInputError(f"another run (process {holder}) does not end: end it and try again") from None
                if not told:
                    progress.say(f"waiting for another run (process {holder}) to end")
                told = True
                time.sleep(0.2)
            os.close(descriptor)


def down(state: State, cache: Cache, progress: Progress) -> None:
    preflight.require_root()
    with only_one(progress):
        swept = sweep(state, progress)
        shutil.rmtree(RUN)
    progress.say("removed " + ", ".join(swept) if swept else "nothing to remove")
    progress.say(f"took {progress.elapsed:.1f} s (budget {_DOWN_BUDGET} s)")
    progress.say(f"kept: what was built ({cache.root}), Go's caches, installed Debian packages")


def sweep(own: State, progress: Progress) -> list[str]:
    """Removes whatever a run left, found by names and cgroups, not by what a record says; what it found."""
    pointed = [State(root=Path(STATE_POINTER.read_text()))] if STATE_POINTER.exists() else []
    states = {state.root: state for state in (*pointed, own)}.values()
    for state in states:
        if state.ready.exists():  # a state folder that is a file has none
            state.ready.unlink()  # first: from here on nothing is whole
    found = []
    if cgroups.exists():
        with progress.step("processes ended"):
            found.append(f"{cgroups.kill()} processes")
    if left := network.leftovers():
        found.append(", ".join(left))
        with progress.step("namespaces, mounts and links removed"):
            network.remove()
    if cgroups.exists():
        cgroups.remove()
        found.append("cgroups")
    for state in states:
        if state.marker.exists():
            with progress.step(f"{state.root} deleted"):
                shutil.rmtree(state.root)
            found.append(str(state.root))
    STATE_POINTER.unlink(missing_ok=True)
    return found


def up(cluster: Cluster, progress: Progress, *, with_eventing: bool) -> Cluster:
    """Builds before it sweeps: what cannot be built leaves a running cluster as it is."""
    preflight.require_root()
    with only_one(progress):
        packages.install(progress)
        go = go_version()
        require_go(go, versions().go)
        names = [name for name in versions().components if with_eventing or name != "eventing"]
        wanted = {name: located(cluster.cache, versions().components[name], go) for name in names}
        running = _already_up(cluster, wanted, progress)
        missing = [name for name, found in wanted.items() if not found.folder.is_dir()]
        if running is None or missing:
            preflight.check(cluster.topology, cluster.state, cluster.cache, missing=missing)
        cluster.cache.remove_half_done()
        if running is None:
            with progress.step("Envoy and its libraries fetched, or found in the cache"):
                system_images.fetch(cluster.cache)
        for name in names:
            build(cluster.cache, versions().components[name], go, progress)
        if running is None:
            if swept := sweep(cluster.state, progress):
                progress.say("cleaned the leftover of an earlier run: " + ", ".join(swept))
            preflight.check_memory()
            running = _booted(cluster.with_builds(wanted), progress)
        ready = Ready.read(running.state)
        if with_eventing and ready is not None and not ready.eventing:
            running = running.with_builds({**running.builds, **wanted})
            add_eventing(running, progress)
        return running


def _booted(cluster: Cluster, progress: Progress) -> Cluster:
    """A boot that fails leaves what it started and says so: never exit code 2, which means that nothing was."""
    try:
        return boot(cluster, progress)
    except ClusterError as error:
        raise ClusterError(
            f"{error}; what was started is left to be looked at (logs: {cluster.state.logs}), and `make cluster-down` "
            "removes it"
        ) from error


def _already_up(cluster: Cluster, wanted: dict[str, Build], progress: Progress) -> Cluster | None:
    """The cluster that runs, where it is whole and made of what is wanted now."""
    ready = Ready.read(cluster.state)
    if ready is None:
        _refuse_another_state(cluster.state)
        return None
    built = recorded(ready)
    # By the key of a build: the cache may have moved.
    stale = [name for name in built if name in wanted and built[name].folder.name != wanted[name].folder.name]
    dead = [component.name for component in processes.components(cluster.state) if not component.alive]
    if stale or dead or ready.network != str(cluster.topology.network):
        why = [*(f"{name} is of another version" for name in stale), *(f"{name} is dead" for name in dead)]
        progress.say(f"the running cluster must be started anew: {', '.join(why) or 'its network changed'}")
        return None
    progress.say("the cluster is up already")
    return cluster.with_builds(built)


def elsewhere() -> Path | None:
    """The state folder of a whole cluster, wherever it is; None where there is no whole one."""
    if STATE_POINTER.exists() and Ready.read(State(root=Path(STATE_POINTER.read_text()))) is not None:
        return Path(STATE_POINTER.read_text())
    return None


def _refuse_another_state(state: State) -> None:
    """A whole cluster whose state lies elsewhere is no leftover."""
    if other := elsewhere():
        raise BadInputError(
            f"a cluster is up with its state in {other}, and a machine has one: `make cluster-down` first, or "
            f"unset {STATE_VARIABLE}={state.root}"
        )
