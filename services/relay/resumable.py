"""Which requests go on elsewhere with the very text that they would have had, and why the others do not.

Called when a request comes in, before its engine is asked. The engine is known by its traits only. One that resumes
natively takes the tokens said so far as its own, so that what it counts (the seed's step, penalties, stop strings,
max_tokens, usage) goes on; one that does not takes them as part of a longer prompt. The subtle thing is what the
client cannot know: where it gave no seed, any draw is right, so the relay gives one itself and can then compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PATHS: Final = frozenset({"/v1/completions", "/v1/chat/completions"})
_COLD: Final = 1e-5  # a temperature below is none, as for vLLM
_GUIDED: Final = (
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "guided_decoding_backend",
)  # fmt: skip
# The repetition penalty is none of these: it counts the prompt too.
_COUNTS_WHAT_WAS_SAID: Final = ("presence_penalty", "frequency_penalty", "min_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an engine can do beyond OpenAI's API."""

    tells_tokens: bool  # `return_token_ids`: each chunk says which tokens it is made of
    resumes: bool  # `resume_token_ids`: those are taken as said


TINY_LLM: Final = Traits(tells_tokens=True, resumes=True)
VLLM: Final = Traits(tells_tokens=True, resumes=False)
OPENAI: Final = Traits(tells_tokens=False, resumes=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`why_not` empty: it may move. `repeats`: two engines that are given it say the same, token by token."""

    why_not: str = ""
    repeats: bool = False


def judged(path: str, body: Mapping[str, Any], engine: Traits) -> Verdict:
    """Of a body that may be anything; what the engine will refuse anyway may be judged either way."""
    why = _why_not(path, {name: value for name, value in body.items() if value is not None}, engine)
    if why:
        return Verdict(why_not=why)
    return Verdict(repeats=engine.resumes or _is_greedy(body))


def seeded(body: Mapping[str, Any], new_seed: int, engine: Traits) -> dict[str, Any]:
    """What the engine is asked: as the client asked, and with a seed where it may be any."""
    if engine.resumes and body.get("seed") is None and not _is_greedy(body):
        return {**body, "seed": new_seed}
    return dict(body)


def _why_not(path: str, given: Mapping[str, Any], engine: Traits) -> str:
    if path not in PATHS:
        return f"{path[:64]} is no generation"
    if given.get("stream") is not True:
        return "it is not streamed: its tokens are not seen before the end"
    if not engine.tells_tokens:
        return "the engine does not tell its tokens, and the same text may be made of others"
    if given.get("n", 1) != 1 or given.get("best_of", 1) != 1 or _prompts(given) != 1:
        return "it has several choices in one stream"
    if _is_guided(given):
        return "its decoding is guided, and how far the grammar is cannot be told to another engine"
    if _has_logprobs(given) and not _is_greedy(given) and given.get("seed") is None:
        return "it wants log probabilities of an unseeded draw"
    return "" if engine.resumes else _why_not_as_prompt(given)


def _why_not_as_prompt(given: Mapping[str, Any]) -> str:
    if given.get("seed") is not None and not _is_greedy(given):
        return "its seed's step cannot be told to the engine"
    if _has_logprobs(given):
        return "its log probabilities name places in the text, which would begin anew"
    if given.get("stop") or given.get("echo"):
        return "what the engine holds back, or repeats, is cut at its prompt's end"
    for name in _COUNTS_WHAT_WAS_SAID:
        if given.get(name, 0) != 0:
            return f"{name} counts what was said, and a prompt is not said"
    return ""


def _is_greedy(given: Mapping[str, Any]) -> bool:
    temperature = given.get("temperature")
    return isinstance(temperature, int | float) and temperature < _COLD


def _has_logprobs(given: Mapping[str, Any]) -> bool:
    """A completion's 0 asks for those of the tokens themselves."""
    logprobs = given.get("logprobs")
    return logprobs is not None and logprobs is not False


def _prompts(given: Mapping[str, Any]) -> int:
    """One text, or one list of tokens, is one prompt."""
    prompt = given.get("prompt", "")
    return len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list) else 1


def _is_guided(given: Mapping[str, Any]) -> bool:
    form = given.get("response_format")
    return (
        any(given.get(name) for name in _GUIDED)
        or (form is not None and form != {"type": "text"})
        or (bool(given.get("tools")) and given.get("tool_choice") != "none")
    )
