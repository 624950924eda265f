"""`make record-api`: takes the tour on the cluster that is up, and writes what was asked and answered.

    python -m tests.cluster.record_api [FILE]

FILE is tests/data/api_recording.jsonl.gz, which is committed: what the API server of `dev` is held to. It takes two to
three minutes. The cluster has to have Eventing, else that part of the tour is a record of refusals.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.cluster import api_tour
from tests.cluster.driver import attach
from tests.cluster.recording import Upstream, recorded
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.system_images import FUNCTION_IMAGE

RECORDING: Final = Path(__file__).parents[1] / "data" / "api_recording.jsonl.gz"


def main() -> int:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDING
    try:
        cluster = attach()
        upstream = Upstream.of_kubeconfig(cluster.kubeconfig)
        cluster.kubectl.apply(Path(__file__).parents[2] / "config" / "core" / "300-gpunode.yaml")
    except (ClusterError, OSError) as error:
        sys.stderr.write(f"record-api: {error}\n")
        return 2
    with tempfile.TemporaryDirectory() as home, recorded(upstream) as recording:
        api_tour.Tour(
            url=recording.url,
            kubectl=cluster.kubectl.binary,
            kn=cluster.kn,
            image=FUNCTION_IMAGE,
            home=Path(home),
            told=lambda line: sys.stdout.write(f"{line}\n"),  # type: ignore[arg-type]
        ).take()
    recording.write(file)
    sys.stdout.write(f"{len(recording.exchanges)} exchanges in {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
