"""The tiny model behind the relay as a function's image in the test cluster, made from this checkout.

The tag is a hash of what is in it, as that of `system.image`: a function that names it runs what this checkout is.
"""

import hashlib
from dataclasses import replace
from typing import Final

from tests.cluster.system import CHECKOUT, REQUIREMENTS
from tests.cluster.testbed import python_images
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.images import REGISTRY, Image
from tests.cluster.testbed.layout import Cache

# Of the pinned wheels what relay and model import; services/tiny_llm/Dockerfile names the same.
WHEELS: Final = ("click", "cloudevents", "numpy", "prometheus-client", "python-dateutil")
ENTRYPOINT: Final = (
    python_images.PYTHON, "-m", "services.relay", "--", python_images.PYTHON, "-m", "services.tiny_llm",
)  # fmt: skip


def image(cache: Cache) -> Image:
    base = python_images.base(python_images.chosen(REQUIREMENTS, WHEELS, cache), cache)
    built = python_images.project(f"{REGISTRY}/tiny-llm:dev", base, CHECKOUT, cache)
    inside = " ".join(str(tree.name) for part in (base, built) for _, tree in part.trees)
    tag = hashlib.sha256(f"{inside} {ENTRYPOINT}".encode()).hexdigest()[:12]
    return replace(built, name=f"{REGISTRY}/tiny-llm:{tag}", entrypoint=ENTRYPOINT)


def loaded(cluster: Cluster, *nodes: str) -> str:
    """On these nodes, where it is not there yet; its name."""
    return cluster.load(image(cluster.cache), *nodes)
