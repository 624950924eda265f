"""docs/tiny-llm.md says what the tiny model's server takes."""

import re
from pathlib import Path

from services.tiny_llm import openai_request
from services.tiny_llm.__main__ import command
from services.tiny_llm.event_door import FINISHED

PAGE = (Path(__file__).parents[3] / "docs" / "tiny-llm.md").read_text()


def test_every_option_is_there_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^|`]*?)`? ?\|", PAGE, re.MULTILINE))
    options = {option.opts[0]: str(option.default or "") for option in command.params}
    assert told == {**options, "--weights": "the package's"}


def test_every_parameter_is_there() -> None:
    _, _, after = PAGE.partition("Parameters that it takes:")
    told = set(re.findall(r"`([a-z_]+)`", after.partition("Others are refused")[0]))
    assert told == openai_request._OF_COMPLETIONS | openai_request._OF_CHAT


def test_the_reply_to_an_event_is_named() -> None:
    assert f"`{FINISHED}`" in PAGE
