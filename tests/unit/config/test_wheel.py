"""What is installed by pip is enough to run the whole system: no checkout beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

from knative_mig.dev.whole.objects import FILES

ROOT = Path(__file__).parents[3]


def test_the_wheel_has_the_manifests_that_dev_begins_with(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        found = set(content.namelist())
    assert {f"knative_mig/dev/config/{each}" for each in (*FILES, "core/300-gpunode.yaml")} <= found
    assert "services/tiny_llm/weights.safetensors" in found
