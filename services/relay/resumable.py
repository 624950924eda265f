"""Which requests go on elsewhere with the very text that they would have had, and why the others do not.

Called when a request comes in, before its engine is asked. The engine is known by its traits only. One that resumes
natively takes the tokens said so far as its own, so that what it counts (the seed's step, penalties, stop strings,
max_tokens, usage) goes on; one that does not takes them as part of a longer prompt, so what nobody here knows of a
request keeps it where it is. The subtle thing is what the client cannot know: where it gave no seed, any draw is right,
so the relay gives one itself and can then compare. What moves is read here and written anew: what would not come out as
it went in is left to the engine, which alone can say what is wrong with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

COMPLETIONS: Final = "/v1/completions"
CHAT: Final = "/v1/chat/completions"
PATHS: Final = frozenset({COMPLETIONS, CHAT})
_MOST_BY_DEFAULT: Final = 16  # tokens of a completion
_EACH_TIME: Final = "continuous_usage_stats"
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_DEEPEST: Final = 32  # values in each other: a schema has a dozen, and what writes and reads them goes only so far
_COLD: Final = 1e-5  # a temperature below is none, as for vLLM
_GUIDED: Final = (
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "guided_decoding_backend",
)  # fmt: skip
# The repetition penalty is none of these: it counts the prompt too.
_COUNTS_WHAT_WAS_SAID: Final = ("presence_penalty", "frequency_penalty", "min_tokens", "bad_words")
# Of vLLM's, asked again as they are when the prompt has become longer.
GO_ON: Final = frozenset({
    "model", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "ignore_eos", "stop_token_ids",
    "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "logit_bias",
    "allowed_token_ids", "priority", "cache_salt", "user", "stream_options",
})  # fmt: skip
# And those that have done their part when the prompt's tokens are known, or that are looked at above or below.
_ARE_DONE: Final = frozenset({
    "prompt", "messages", "add_special_tokens", "chat_template", "chat_template_kwargs", "add_generation_prompt",
    "continue_final_message", "documents", "tools", "tool_choice", "parallel_tool_calls", "truncate_prompt_tokens",
    "truncation_side", "response_format", "n", "best_of", "stop", "echo", "logprobs", "top_logprobs", "stream",
    "max_tokens", "max_completion_tokens", "return_token_ids", "request_id", "metadata", *_GUIDED,
    *_COUNTS_WHAT_WAS_SAID,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an engine can do beyond OpenAI's API."""

    tells_tokens: bool  # `return_token_ids`: each chunk says which tokens it is made of
    resumes: bool  # `resume_token_ids`: those are taken as said
    longest: int | None = None  # tokens that it takes, prompt and answer together, where it has told
    models: tuple[tuple[str, str], ...] = ()  # the name of each, and what it has told of it

    @property
    def goes_on_by_prompt(self) -> bool:
        """In the way of vLLM: what was said is given to it as the end of a prompt of tokens."""
        return self.tells_tokens and not self.resumes

    def model_of(self, body: Mapping[str, Any]) -> str:
        """What two engines say alike of the model that is asked for, where they have the same. Empty: not known."""
        asked = body.get("model") or next((name for name, _ in self.models), "")
        return next((told for name, told in self.models if name == asked), "")


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
    if why := _why_not_written(given):
        return why
    if not engine.tells_tokens:
        return "the engine does not tell its tokens, and the same text may be made of others"
    if given.get("n", 1) != 1 or given.get("best_of", 1) != 1 or _prompts(given) != 1:
        return "it has several choices in one stream"
    if _is_guided(given):
        return "its decoding is guided, and how far the grammar is cannot be told to another engine"
    if _has_logprobs(given) and not _is_greedy(given) and given.get("seed") is None:
        return "it wants log probabilities of an unseeded draw"
    return "" if engine.resumes else _why_not_as_prompt(path, given, engine)


def _why_not_written(given: Mapping[str, Any]) -> str:
    """Of a body that would be asked for in another form than it came in."""
    said = given.get("resume_token_ids", [])
    if not isinstance(said, list) or any(isinstance(each, bool) or not isinstance(each, int) for each in said):
        return "its resume_token_ids are no tokens"
    if not isinstance(given.get("return_token_ids", False), bool):
        return "its return_token_ids is neither true nor false"
    level: list[Any] = list(given.values())
    for _ in range(_DEEPEST):
        if any(isinstance(each, float) and not math.isfinite(each) for each in level):
            return "there is a number in it that JSON does not have"
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return ""
    return f"its values lie in each other deeper than {_DEEPEST}"


def _why_not_as_prompt(path: str, given: Mapping[str, Any], engine: Traits) -> str:
    if given.get("seed") is not None and not _is_greedy(given):
        return "its seed's step cannot be told to the engine"
    if _has_logprobs(given):
        return "its log probabilities name places in the text, which would begin anew"
    if given.get("stop") or given.get("echo"):
        return "what the engine holds back, or repeats, is cut at its prompt's end"
    for name in _COUNTS_WHAT_WAS_SAID:
        if given.get(name, 0) not in (0, []):
            return f"{name} counts what was said, and a prompt is not said"
    if unknown := sorted(given.keys() - GO_ON - _ARE_DONE):
        return f"what {unknown[0][:64]} asks for may not go on"
    if any(not isinstance(given.get(name, 0), int) for name in _LIMITS):
        return "its limit is no number, and what is left of it is not known"
    if path == CHAT and not _is_text(given.get("messages")):
        return "there is more in it than text, and its prompt's tokens are not all of that"
    if path == CHAT and limit_of(path, given) is None and engine.longest is None:
        return "it may become as long as the context, and the engine does not tell how long that is"
    if path == CHAT and isinstance(options := given.get("stream_options"), dict) and options.get(_EACH_TIME):
        return "a chat's usage is told in each chunk, in another form than a completion's"
    if given.get("return_token_ids") and not _is_greedy(given):
        return "its client is told its tokens, and of a character that was half drawn they are drawn again"
    return ""


def limit_of(path: str, body: Mapping[str, Any]) -> int | None:
    """Of the answer's tokens, as vLLM takes it; None: the context is the limit."""
    if path == CHAT:
        limit = body.get("max_completion_tokens")
        return limit if isinstance(limit, int) else body.get("max_tokens")
    limit = body.get("max_tokens", _MOST_BY_DEFAULT)
    return limit if isinstance(limit, int) else _MOST_BY_DEFAULT


def _is_text(messages: object) -> bool:
    """Pictures and sounds are no tokens of the prompt."""
    parts = [each.get("content") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    inner = [piece for part in parts if isinstance(part, list) for piece in part]
    return all(isinstance(piece, str) or (isinstance(piece, dict) and piece.get("type") == "text") for piece in inner)


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
