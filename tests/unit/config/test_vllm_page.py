"""docs/vllm.md says what the launcher of vLLM takes, sets and answers; its image is of the release that it knows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click

from services.relay.__main__ import command as relay_command
from services.vllm.__main__ import command
from services.vllm.failures import WORDS, Ending
from services.vllm.model_facts import ModelFacts
from services.vllm.plan import Slice, Wanted, plan
from tests.rigs import vllm_stub

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "vllm.md").read_text()
DOCKERFILE = (ROOT / "services" / "vllm" / "Dockerfile").read_text()


def test_every_option_is_there_with_its_default() -> None:
    _, _, after = PAGE.partition("## Options")
    told = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^|`]*?)`? ?\|", after, re.MULTILINE))
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert told == {each.opts[0]: "" if each.default is None else str(each.default) for each in options}


def test_every_flag_that_it_sets_is_told() -> None:
    _, _, after = PAGE.partition("## From a slice to flags")
    told = set(re.findall(r"^\| `(--[a-z-]+)` \|", after.partition("\n## ")[0], re.MULTILINE))
    model = ModelFacts(weights_bytes=1, kv_bytes_per_token=1000, context=4096)
    assert told == {flag.name for flag in plan(Slice(memory_mib=20_000), model, Wanted(model="m", port=1)).flags}


def test_every_exit_code_is_told_in_its_words() -> None:
    told = dict(re.findall(r"^\| (\d) \| ([a-z ]+)", PAGE, re.MULTILINE))
    assert {code: words.strip() for code, words in told.items()} == {str(int(each)): WORDS[each] for each in Ending}


def test_page_image_and_table_are_of_one_release() -> None:
    version = vllm_stub.RELEASE["version"]
    assert f"vLLM {version}." in PAGE
    assert re.findall(r"vllm-openai:v(\S+)", DOCKERFILE) == [version]


def test_the_image_runs_without_root_and_holds_all_that_the_relay_and_the_launcher_import() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["2000:0"]
    [taken] = re.findall(r"keep = /\^([a-z]+)==/", DOCKERFILE)
    assert re.search(rf"^{taken}==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    mains = "services.relay.__main__, services.vllm.__main__"
    imports = f"import sys; old = set(sys.modules); import {mains}; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", imports], cwd=ROOT, check=True, capture_output=True, text=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    copied = set(re.findall(r"^COPY (\w+)/ \1/$", DOCKERFILE, re.MULTILINE))
    assert packages == {taken} | copied


def test_the_image_starts_the_relay_as_before_vllm() -> None:
    [entrypoint] = re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)
    python, *relay = json.loads(entrypoint)
    assert relay[:2] == ["-m", "services.relay"]
    context = relay_command.make_context("relay", [*relay[2:], "/models/it", "--", "--dtype", "half"])
    assert context.params["engine"] == "vllm"
    assert context.params["command"] == (python, "-m", "services.vllm", "/models/it", "--", "--dtype", "half")
