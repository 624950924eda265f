"""A chunk's parts: what of it a client sees, and what of it could be made from a completion that begins further on.

Called by `stream_events` with the chunks of an engine's answer. A completion's chunk and a chat's are of the same parts
in the same order, but for those named here: so what a release adds to both is carried over without being known.
"""

from typing import Any, Final

_AT_THE_END: Final = frozenset({"stop_reason", "weight_versions"})  # a chat's last chunk alone has them
_ARE_TEXT: Final = frozenset({"role", "content"})


def text_of(choice: dict[str, Any]) -> str:
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def shows(choice: dict[str, Any]) -> bool:
    """Of an engine that has a chunk for each token only where it is to tell the tokens."""
    delta = choice.get("delta")
    told = {name: value for name, value in delta.items() if value not in ("", None)} if isinstance(delta, dict) else {}
    return bool(told or choice.get("text") or choice.get("logprobs") or choice.get("finish_reason"))


def shows_null(choice: dict[str, Any]) -> bool:
    """Of vLLM, which has one in any case; only what its parsers hold back is told without a word."""
    return choice.get("delta") != {} or bool(choice.get("finish_reason"))


def why_stuck(chunk: dict[str, Any], ids: tuple[int, ...], *, knows_prompt: bool) -> str:
    """Of a chunk that was asked for as the client asked: why a completion of tokens could not go on with it."""
    choices = chunk["choices"]
    if any(map(text_of, choices)) and not ids:
        return "the engine does not tell the tokens of its text"
    if ids and not knows_prompt:
        return "the engine does not tell its prompt's tokens"
    deltas = [choice["delta"] for choice in choices if isinstance(choice.get("delta"), dict)]
    if any(delta.keys() - _ARE_TEXT or not (delta or choices[0].get("finish_reason")) for delta in deltas):
        return "the engine reads more out of its text than text"
    if deltas and chunk.get("usage"):
        return "a chat's usage is told in each chunk, in another form than a completion's"
    return ""


def count_as_said(chunk: dict[str, Any], said: int) -> None:
    """Tokens that the engine counts as its prompt's."""
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        for name, more in (("prompt_tokens", -said), ("completion_tokens", said)):
            if isinstance(usage.get(name), int):
                usage[name] += more


def as_of_a_chat(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = [_choice_of_a_chat(choice) for choice in chunk["choices"]]
    return {**chunk, "object": "chat.completion.chunk", "choices": choices}


def _choice_of_a_chat(choice: dict[str, Any]) -> dict[str, Any]:
    has_ended = bool(choice.get("finish_reason"))
    kept = {name: value for name, value in choice.items() if has_ended or name not in _AT_THE_END}
    kept.pop("prompt_token_ids", None)  # a chat has them beside its choices
    return {
        "delta" if name == "text" else name: {"content": value} if name == "text" else value
        for name, value in kept.items()
    }
