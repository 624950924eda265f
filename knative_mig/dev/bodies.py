"""What a mirror keeps of an object that is decided about as a whole: all of it, as if it had been read by itself.

Used where the stand-ins of Serving's and Eventing's controllers make their mirrors.
"""

from collections.abc import Callable, Mapping
from typing import Any

from knative_mig.adapters.kube.kinds import Kind


def whole(kind: Kind) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """An entry of a list does not say what it is, and who wrote which field matters to nobody here."""

    def read(body: Mapping[str, Any]) -> dict[str, Any]:
        about = {name: each for name, each in body["metadata"].items() if name != "managedFields"}
        return {**body, "apiVersion": kind.group, "kind": kind.kind, "metadata": about}

    return read
