"""Composes the server's process: the model behind its loop, and the HTTP side before it.

    loop    takes the steps        http    accepts connections, each a thread of its own

`run` is called by `__main__`, `TinyLlm` by tests. It is ready as soon as its port is bound, for the weights are read
before. Told to end, it takes no more, and is gone when what it had begun is over: at once, where that is nothing.
"""

import hashlib
import logging
import resource
import secrets
import sys
import threading
import time
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from knative_mig.adapters.program import when_told
from knative_mig.adapters.threads import Threads
from knative_mig.core.errors import BadInput
from services.tiny_llm.capacity import Capacity
from services.tiny_llm.engine import Engine
from services.tiny_llm.http_server import Desk, HttpServer
from services.tiny_llm.loop import Loop
from services.tiny_llm.metrics import Metrics
from services.tiny_llm.openai_request import Server
from services.tiny_llm.settings import Settings
from services.tiny_llm.tokenizer import VOCABULARY
from services.tiny_llm.weights import Weights

_log = logging.getLogger(__name__)
_ENDS_WITHIN_S: Final = 1.0
# How long a thread keeps the interpreter when another wants it. Steps are made of short calls: with the default of
# five milliseconds each token would wait that long for the thread that sends it.
_SWITCH_S: Final = 0.0005


def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT, and what has begun is over; the exit code."""
    sys.setswitchinterval(_SWITCH_S)
    # A connection is a file, and many a container begins with 1,024 where it may have more.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = TinyLlm(settings)
    when_told(server.stop.set)
    server.start()
    _log.info("%s is served on port %d: %s", settings.model, server.http.port, server.capacity.limits)
    server.stop.wait()
    server.drain()
    return 1 if server.failed else 0


class TinyLlm:
    def __init__(self, settings: Settings) -> None:
        """BadInput: the model has no name, or no weights, or they do not fit. OSError: the port is taken."""
        self.stop = threading.Event()
        if not settings.model:
            raise BadInput("the model has no name")
        weights = Weights.load(settings.weights)
        if weights.shape.vocabulary != VOCABULARY:
            raise BadInput(f"{settings.weights} has {weights.shape.vocabulary} tokens: legal are {VOCABULARY}")
        self.capacity = Capacity.of(settings.slice, weights.shape, paced_as=settings.paced_as, gpu=settings.pace_gpu)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        metrics = Metrics(registry, settings.model, self.capacity.limits.blocks)
        self.engine = Engine(weights, self.capacity.limits)
        self.loop = Loop(
            self.engine,
            metrics,
            clock=time.monotonic,
            most_waiting=settings.most_waiting,
            pace=self.capacity.pace,
        )
        desk = Desk(
            loop=self.loop,
            metrics=metrics,
            registry=registry,
            server=Server(
                model=settings.model,
                longest=self.engine.longest,
                most=self.loop.most,
                new_seed=lambda: secrets.randbits(63),
                fingerprint=hashlib.sha256(settings.weights.read_bytes()).hexdigest()[:16],
            ),
            version=version("knative-mig"),
            started=int(time.time()),
            new_identity=lambda: secrets.token_hex(16),
            unhealthy=lambda: f"thread {self.failed} failed" if self.failed else "",
        )
        self.http = HttpServer(settings.host, settings.port, desk, at_most=settings.connections)
        self._threads = Threads(self.stop)

    @property
    def failed(self) -> str:
        """Which thread did, and so ended the process."""
        return self._threads.failed

    def start(self) -> None:
        self._threads.run("loop", lambda _: self.loop.run())
        self._threads.run("http", lambda _: self.http.serve())

    def drain(self) -> None:
        """Returns when nothing is in flight."""
        self.loop.drain()

    def end(self) -> None:
        self.stop.set()
        self._threads.end((self.loop.interrupt, self.http.stop), time.monotonic() + _ENDS_WITHIN_S)
