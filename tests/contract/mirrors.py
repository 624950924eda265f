"""Runs mirrors for tests, on threads that end with the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from knative_mig.adapters.kube.reflector import KubeMirror


@contextmanager
def running(mirror: KubeMirror[Any]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=mirror.run, args=(stop,), name=f"mirror of {mirror.kind.plural}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        mirror.interrupt()
        thread.join(60)
        assert not thread.is_alive()
