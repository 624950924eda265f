"""`vllm serve` from outside: the pinned release's options, its health, models, metrics and streams, and how it fails.

    python tests/rigs/vllm_stub.py serve MODEL ...

What it takes is what `tests/data/vllm_release.json` says, and nothing else. STUB_FAILS names a way to fail,
STUB_HEALTHY_AFTER_S is how long it loads, STUB_CHILD a file that it writes the process id of its engine into,
and STUB_SEEN one that it writes its own, its arguments and its environment into. What it streams is of `vllm_model`,
a token each STUB_TOKEN_S, or one each 25 ms while there is the file STUB_SLOWLY.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":  # a process of its own finds what lies beside it
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.rigs.vllm_model import LONGEST, Refused, Saying

RELEASE: Final[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "vllm_release.json").read_text())
_SLOW_S: Final = 0.025
_HUMAN: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

_ENGINE: Final = "(EngineCore pid=71) ERROR 11-29 02:00:00 [core.py:1160] "
_ENDS: Final = (
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_0': 1}"
)
FAILS: Final = {
    "memory": (
        f"{_ENGINE}EngineCore failed to start.",
        f"{_ENGINE}Traceback (most recent call last):",
        f"{_ENGINE}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 9.50 GiB.",
        _ENDS,
    ),
    "slice": (
        f"{_ENGINE}EngineCore failed to start.",
        f"{_ENGINE}RuntimeError: No CUDA GPUs are available",
        _ENDS,
    ),
    "model": (
        "(APIServer pid=1) Traceback (most recent call last):",
        "(APIServer pid=1) ValueError: Invalid repository ID or local directory specified: 'no/such'.",
        "Please verify the following requirements:",
        "1. Provide a valid Hugging Face repository ID.",
    ),
    "otherwise": ("(APIServer pid=1) Traceback (most recent call last):", "(APIServer pid=1) KeyError: 'x'"),
}


def _human_int(text: str) -> int:
    factor = _HUMAN.get(text[-1:], 1)
    return int(float(text[:-1]) * factor) if text[-1:] in _HUMAN else int(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error


_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "int": int,
    "float": float,
    "text": str,
    "json": _json,
    "human int": _human_int,
}


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text in {"", "None"} else read(text)


def parser(release: dict[str, Any] = RELEASE) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False)
    found.add_argument("model_tag", nargs="?")
    for name, about in release["options"].items():
        names = (name, *about.get("also", ()))
        if about.get("action") == "pair":
            found.add_argument(*names, action=argparse.BooleanOptionalAction)
        elif about.get("action") == "switch":
            found.add_argument(*names, action="store_true")
        else:
            kept = {key: about[key] for key in ("choices", "nargs") if key in about}
            read = _TYPES[about["type"]]
            if about.get("none"):
                read = _or_none(read)
                kept |= {"choices": [*kept["choices"], None]} if "choices" in kept else {}
            found.add_argument(*names, type=read, **kept)
    return found


def _dashed(argument: str) -> str:
    """`--max_num_seqs` is taken for `--max-num-seqs`."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if argument.startswith("--") else argument


def metrics(model: str) -> str:
    lines = []
    for name, kind in RELEASE["metrics"].items():
        lines.append(f"# TYPE {name} {kind}")
        sample = {"counter": "_total", "gauge": "", "histogram": "_count"}[kind]
        lines.append(f'{name}{sample}{{engine="0",model_name="{model}"}} 0')
    return "\n".join(lines) + "\n"


def _handler(model: str, healthy_at: float) -> type[BaseHTTPRequestHandler]:
    token_s = float(os.environ.get("STUB_TOKEN_S", "0"))
    slowly = os.environ.get("STUB_SLOWLY")
    numbers = itertools.count(os.getpid() * 1000)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = next(numbers)
            try:
                saying = Saying.of(self.path, body, luck=number, number=number)
            except (Refused, KeyError) as refused:
                self._answer(400, json.dumps({"error": {"message": str(refused), "type": "BadRequestError"}}))
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for data in saying.events():
                    event = f"data: {data}\n\n".encode()
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                    time.sleep(_SLOW_S if slowly and Path(slowly).exists() else token_s)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            answers = {
                "/health": "",
                "/metrics": metrics(model),
                "/version": json.dumps({"version": RELEASE["version"]}),
                "/v1/models": json.dumps(
                    {"object": "list", "data": [{"id": model, "object": "model", "max_model_len": LONGEST}]}
                ),
            }
            status = 404 if self.path not in answers else 200 if time.monotonic() >= healthy_at else 503
            self._answer(status, answers.get(self.path, ""))

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
            pass

    return Handler


def _why_no_step(asked: argparse.Namespace) -> str:
    """By the rule of the release's `SchedulerConfig`, where the number is told."""
    tokens, sequences, length = asked.max_num_batched_tokens, asked.max_num_seqs, asked.max_model_len or LONGEST
    if tokens is None:
        return ""
    if tokens < length and asked.enable_chunked_prefill is False:
        return f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({length})."
    if sequences is not None and tokens < sequences:
        return f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({sequences})."
    return ""


def main() -> int:
    assert sys.argv[1] == "serve", sys.argv
    asked = parser().parse_args([_dashed(each) for each in sys.argv[2:]])
    if seen := os.environ.get("STUB_SEEN"):
        told = {"pid": os.getpid(), "arguments": sys.argv[1:], "environment": dict(os.environ)}
        Path(seen).write_text(json.dumps(told))
    print("INFO 11-29 02:00:00 [api_server.py:10] vLLM API server version", RELEASE["version"])
    if why := _why_no_step(asked):
        print("(APIServer pid=1) pydantic_core.ValidationError: 1 validation error for SchedulerConfig")
        print(f"(APIServer pid=1)   Value error, {why} [type=value_error]", "For further information", sep="\n")
        return 1
    if fails := os.environ.get("STUB_FAILS"):
        print(*FAILS[fails], sep="\n", file=sys.stderr)
        return 1
    if child := os.environ.get("STUB_CHILD"):
        engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(child).write_text(str(engine.pid))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    healthy_at = time.monotonic() + float(os.environ.get("STUB_HEALTHY_AFTER_S", "0"))
    server = ThreadingHTTPServer(("127.0.0.1", asked.port), _handler(asked.model_tag, healthy_at))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop.wait()
    print("INFO 11-29 02:00:00 [launcher.py:10] Shutting down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
