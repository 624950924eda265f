"""What README.md claims: its demo prints what it shows, its folders exist, its commands are known."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from knative_mig.cli.main import VERBS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "knative_mig").rglob("*.md")])


def test_the_demo_prints_what_is_shown() -> None:
    _, commands, shown = re.findall(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    [demo] = re.findall(r"^\.venv/bin/knative-mig (.*)$", commands, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "knative_mig.cli.main", *demo.split()],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == shown


def test_every_folder_of_ours_has_its_line() -> None:
    [table] = re.findall(r"## Where things are\n(.*?)\n\[", README, re.DOTALL)
    named = set(re.findall(r"`([a-z_/]+)`", table.replace("| `unit`", "")))
    ours = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"knative_mig"}
    within = {f"knative_mig/{path.parent.name}" for path in (ROOT / "knative_mig").glob("*/__init__.py")}
    assert ours | within | {"docs", "requirements", "tests"} <= named
    assert all((ROOT / each).is_dir() or (ROOT / "tests" / each).is_dir() for each in named)


def test_every_verb_that_is_named_exists() -> None:
    assert set(re.findall(r"(?:`|/)knative-mig ([a-z]+)", README)) <= set(VERBS)


@pytest.mark.parametrize("page", ["README.md", "docs/dev.md", "docs/plan-file.md"])
def test_what_is_to_be_typed_is_typed_in_a_checkout_where_make_dev_alone_was_called(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r"^(?:\$ )?knative-mig .*", text, re.MULTILINE) == []
    assert re.findall(r"`knative-mig [a-z]+ [^`]*`|\$\(knative-mig .*?\)", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        title = page.read_text().splitlines()[0].removeprefix("# ")
        assert f"| [{title[:4]}]({page.name}) | {title[5:]} |" in index
