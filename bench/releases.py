"""How long a slice is held after its pod was deleted: a relay with the tiny model, and the agent's side of its socket.

Called by `bench.serving`. From the agent's word to the moment at which it sees no process of the container but the
relay and takes the slice back. What comes before it, the watch by which the agent hears of the deletion, and after it,
the cut, are not in it: `tests/cluster/test_generations.py` measures from the deletion on a cluster.
"""

import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import click

from bench.moves import running
from knative_mig.adapters.proc_pods import ProcPods
from knative_mig.adapters.slice_socket import SliceSockets
from knative_mig.core.errors import SliceInUse
from knative_mig.core.gpu_node import SliceId

_SLICE: Final = SliceId.parse("GPU-00000000-0000-0000-0000-000000000000/3g.20gb/0")
_PATIENCE_S: Final = 60.0


def early_release_s() -> float:
    """Of one idle replica."""
    released = threading.Event()
    processes = ProcPods()

    def release(_: SliceId, pid: int) -> None:
        if any(processes.descends(int(each.name), pid) for each in Path("/proc").iterdir() if each.name.isdecimal()):
            raise SliceInUse("its engine is still there")
        released.set()

    with tempfile.TemporaryDirectory(prefix="km-") as folder:
        sockets = SliceSockets(release, Path(folder) / "slices")
        thread = threading.Thread(target=sockets.run)
        thread.start()
        try:
            command = [
                sys.executable, "-m", "services.relay", "--host", "127.0.0.1", "--port", "0", "--slice-dir",
                str(sockets.open_for_new_pod(_SLICE)), "--", sys.executable, "-m", "services.tiny_llm",
            ]  # fmt: skip
            with running(command) as relay:
                assert relay.stderr is not None
                if not any(re.search(r"relayed on port \d+", line) for line in relay.stderr):
                    raise click.ClickException("the relay did not start")
                began = time.monotonic()
                sockets.tell_deleted(_SLICE, lambda: True)
                if not released.wait(_PATIENCE_S):
                    raise click.ClickException("the slice was not given back")
                return time.monotonic() - began
        finally:
            sockets.stop()
            thread.join()
