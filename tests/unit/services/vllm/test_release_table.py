"""What the pinned release of vLLM takes and counts, as the table has it, and how the table is read from its source."""

import json
from pathlib import Path

import pytest

from services.tiny_llm import metrics as tiny
from tests.data.generate_vllm_table import Sources, metrics, options, render
from tests.rigs import vllm_stub

OPTIONS, METRICS = vllm_stub.RELEASE["options"], vllm_stub.RELEASE["metrics"]


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("--max-num-seqs", {"type": "int"}),
        ("--kv-cache-memory-bytes", {"type": "human int", "none": True}),
        ("--max-model-len", {"type": "human int"}),
        ("--gpu-memory-utilization", {"type": "float", "also": ["--device-memory-utilization"]}),
        ("--enable-prefix-caching", {"action": "pair"}),
        ("--headless", {"action": "switch"}),
        ("--tensor-parallel-size", {"type": "int", "also": ["-tp"]}),
        ("--shutdown-timeout", {"type": "int"}),
        ("--port", {"type": "int"}),
    ],
)
def test_of_the_release_it_has_what_the_launcher_goes_by(name: str, about: dict[str, object]) -> None:
    assert {key: OPTIONS[name].get(key) for key in about} == about


def test_the_stand_in_refuses_what_the_release_does_not_know() -> None:
    parser = vllm_stub.parser()
    assert parser.parse_args(["m", "--max-num-batched-tokens", "2k"]).max_num_batched_tokens == 2000
    assert parser.parse_args(["m", "--max-num-active-seqs", "None"]).max_num_active_seqs is None
    for wrong in (["--no-such-flag"], ["--max-num-seqs", "x"], ["--load-strategy"], ["--max-num"], ["--dtype", "fp3"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["m", *wrong])


def test_the_tiny_model_counts_under_names_of_this_release() -> None:
    for kind, names in (("gauge", tiny.GAUGES), ("counter", tiny.COUNTERS), ("histogram", tiny.HISTOGRAMS)):
        for name in names:
            assert METRICS[f"vllm:{name}"] == kind, name


ARGUMENTS = """
import argparse
from vllm.config import A, B
SECRET = "hidden"

def _compute_kwargs(cls):
    human_readable_int_args = {"many"}

class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        a = get_kwargs(A)
        b_one = get_kwargs(B)["one"]
        b_one["default"] = argparse.SUPPRESS
        a["raw"]["type"] = json.loads
        a["kind"]["choices"].remove(SECRET)
        group = parser.add_argument_group(title="A")
        if True:
            group.add_argument("--many", "-m", **a["many"])
        for_later = 3
        group.add_argument("--raw", **a["raw"])
        group.add_argument("--kind", **{**a["kind"], "default": None})
        group.add_argument("--several", **a["several"])
        group.add_argument("--pair", **a["pair"])
        group.add_argument("--inner", **a["inner"])
        group.add_argument("--free", **a["free"])
        group.add_argument("--one", **b_one)
        group.add_argument("--token", **a["token"])
        group.add_argument("--named", **a["named"])
        parser.add_argument("--plain", type=int, default=0, help="x")
        parser.add_argument("--on", action="store_true")

class AsyncEngineArgs(EngineArgs):
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--log", action=argparse.BooleanOptionalAction)
"""
FRONTEND = """
from vllm.engine.arg_utils import AsyncEngineArgs

@config
class BaseFrontendArgs:
    chat_template: str | None = None

    @classmethod
    def _customize_cli_kwargs(cls, frontend_kwargs):
        frontend_kwargs["chat_template"]["type"] = json.loads
        return frontend_kwargs

@config
class FrontendArgs(BaseFrontendArgs):
    port: int = 8000
    origins: list[str] = field(default_factory=list)

    @classmethod
    def _customize_cli_kwargs(cls, frontend_kwargs):
        frontend_kwargs = super()._customize_cli_kwargs(frontend_kwargs)
        del frontend_kwargs["origins"]["nargs"]
        return frontend_kwargs

def make_arg_parser(parser):
    parser.add_argument("model_tag", type=str, nargs="?")
    parser.add_argument("--config", help="x")
    return parser
"""
CONFIG = """
from typing import TYPE_CHECKING, Literal
from vllm.config.kinds import Kind
if TYPE_CHECKING:
    Named = dict
else:
    Named = str

@config
class Inner:
    x: int

@config(some=1)
class A:
    many: int | None = None
    raw: str = ""
    named: Named = ""
    kind: Kind | None = None
    several: list[int | str] = None
    pair: "bool | None" = None
    inner: Inner = None
    free: Literal["a", "b"] | str = "a"
    token: bool | str | None = None

@dataclass
class B:
    one: float = 1.0
"""
LOGGERS = """
class PrometheusStatLogger:
    def __init__(self):
        running = self._gauge_cls(name="vllm:running", documentation="x")
        done = self._counter_cls(name="vllm:done", documentation="x")

    def info(self):
        name, text = None, None
        if True:
            name = "vllm:info"
        self._gauge_cls(name=name, documentation=text)
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One of an invented engine, as vLLM's are written."""
    files = {
        "vllm/engine/arg_utils.py": ARGUMENTS,
        "vllm/entrypoints/common/cli_args.py": FRONTEND,
        "vllm/config/__init__.py": "from .main import *\n",
        "vllm/config/main.py": CONFIG,
        "vllm/config/kinds.py": 'Small = Literal["z", "y"]\nKind = Literal[Small, "hidden"]\n',
        "vllm/v1/metrics/loggers.py": LOGGERS,
        "PKG-INFO": "Metadata-Version: 2.4\nName: vllm\nVersion: 9.9.9\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_options_are_read_as_the_engine_would_make_them(release: Path) -> None:
    assert options(Sources(release)) == {
        "--chat-template": {"type": "json"},
        "--config": {"type": "text"},
        "--free": {"type": "text"},
        "--inner": {"type": "json"},
        "--kind": {"type": "text", "choices": ["y", "z"], "none": True},
        "--log": {"action": "pair"},
        "--many": {"type": "human int", "none": True, "also": ["-m"]},
        "--named": {"type": "text"},
        "--on": {"action": "switch"},
        "--one": {"type": "float"},
        "--origins": {"type": "text"},
        "--pair": {"action": "pair"},
        "--plain": {"type": "int"},
        "--port": {"type": "int"},
        "--raw": {"type": "json"},
        "--several": {"type": "text", "nargs": "+"},
        "--token": {"type": "text", "nargs": "?"},
    }


def test_an_option_that_is_added_in_another_way_is_not_left_out_in_silence(release: Path) -> None:
    arguments = release / "vllm" / "engine" / "arg_utils.py"
    looped = 'parser.add_argument("--on", action="store_true")'
    arguments.write_text(ARGUMENTS.replace(looped, f"for name in b: {looped}"))
    with pytest.raises(AssertionError, match="add_cli_args adds options in a way that is not understood"):
        options(Sources(release))


def test_metrics_are_read_with_their_kinds(release: Path) -> None:
    assert metrics(Sources(release)) == {"vllm:done": "counter", "vllm:info": "gauge", "vllm:running": "gauge"}


def test_a_release_that_has_changed_shows_in_one_line_an_option(release: Path) -> None:
    before = render(release)
    assert json.loads(before)["version"] == "9.9.9"
    changed = release / "vllm" / "config" / "main.py"
    changed.write_text(changed.read_text().replace("one: float = 1.0", "one: int = 1"))
    after = render(release)
    [line] = set(after.splitlines()) - set(before.splitlines())
    assert line.strip(" ,") == '"--one": {"type": "int"}'
