"""Reads what a client of OpenAI's API asks for, and refuses what is wrong or not to be had, as OpenAI words it.

Called by `http_server` with a body, and for an event with its data. What is not understood is refused and not passed
over: a client that asks for something and does not get it would not know. What changes nothing (who the user is, where
the answer is stored) is taken and left alone. Everything is checked here: behind it nothing sees a `dict`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from services.tiny_llm import tokenizer
from services.tiny_llm.api_error import ApiError, bad, missing, wrong_type
from services.tiny_llm.generation import Asked
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.tokenizer import VOCABULARY, Sign

_MOST_CHOICES: Final = 128  # n, as OpenAI has it
_MOST_PROMPTS: Final = 64
_MOST_STOPS: Final = 4
_DEFAULT_TOKENS: Final = 16  # of a completion; a chat may fill the context
_COMMON: Final = frozenset({
    "model", "stream", "stream_options", "n", "max_tokens", "temperature", "top_p", "top_k", "seed", "stop",
    "ignore_eos", "logprobs", "return_token_ids", "resume_token_ids", "only_warms",
})  # fmt: skip
_OF_COMPLETIONS: Final = _COMMON | {"prompt", "echo", "best_of"}
_OF_CHAT: Final = _COMMON | {"messages", "max_completion_tokens", "top_logprobs"}
_MAKES_NO_DIFFERENCE: Final = frozenset({
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "priority", "request_id",
})  # fmt: skip
_STREAM_OPTIONS: Final = frozenset({"include_usage", "include_obfuscation"})  # nothing is obfuscated
# Legal in the API, and here at this value only: the one that asks for nothing.
_ONLY: Final[Mapping[str, tuple[Any, ...]]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "reasoning_effort": (),
}


class Kind(Enum):
    COMPLETION = "completion"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    kind: Kind
    prompts: tuple[tuple[int, ...], ...]
    n: int  # generations for each prompt
    asked: tuple[Asked, ...]  # those of the first prompt, of the second, ...
    streamed: bool = False
    usage_streamed: bool = False
    tokens_told: bool = False  # a chunk for each token, with its number
    echoed: tuple[str, ...] = ()  # what each prompt's texts begin with

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt) for prompt in self.prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a request is held against."""

    model: str
    longest: int  # tokens of a prompt and its answer
    most: int  # generations that may run and wait at once
    new_seed: Callable[[], int]  # for who gives none
    fingerprint: str = ""  # of its weights


def object_of(body: bytes) -> dict[str, Any]:
    """ApiError: the body is none."""
    try:
        read = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise bad("We could not parse the JSON body of your request: it is expected to be one JSON object.") from None
    if not isinstance(read, dict):
        raise bad("The body of your request is JSON, and no object.")
    return read


def request_of(kind: Kind, body: Mapping[str, Any], server: Server) -> Request:
    """ApiError: it is refused."""
    given = {name: value for name, value in body.items() if value is not None}
    _check_names(given, _OF_CHAT if kind is Kind.CHAT else _OF_COMPLETIONS)
    _check_model(given, server.model)
    prompts = _chat_prompt(given) if kind is Kind.CHAT else _prompts(given)
    n = _integer(given, "n", 1, low=1, high=_MOST_CHOICES)
    if _integer(given, "best_of", n, low=1) != n:
        raise bad("'best_of' is not supported: use 'n'.", "best_of")
    if n * len(prompts) > server.most:
        raise bad(f"Invalid 'n': {n * len(prompts)} choices in all, and this server has room for {server.most}.", "n")
    streamed = _flag(given, "stream")
    options = _stream_options(given, streamed=streamed)
    seed = given.get("seed")
    first = server.new_seed() if seed is None else _integer(given, "seed", 0, low=-(2**63), high=2**63 - 1)
    sampling = _sampling(kind, given)
    stops = _stops(given)
    echoed = tuple(tokenizer.bytes_of(prompt).decode(errors="replace") for prompt in prompts)
    if not _flag(given, "echo"):
        echoed = ()
    elif sampling.logprobs is not None:
        raise bad("'echo' together with 'logprobs' is not supported.", "echo")
    said = _said(given, streamed=streamed, choices=n * len(prompts))
    asked = [
        Asked(
            prompt=prompt,
            said=said,
            only_warms=_flag(given, "only_warms"),
            most_tokens=_most_tokens(kind, given, len(prompt), server.longest),
            sampling=Sampling(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                ignore_end=sampling.ignore_end,
                logprobs=sampling.logprobs,
                seed=first + choice,
            ),
            stops=stops,
        )
        for prompt in prompts
        for choice in range(n)
    ]
    if len(said) >= asked[0].most_tokens:
        raise bad("Invalid 'resume_token_ids': all tokens that were asked for have been said.", "resume_token_ids")
    return Request(
        kind=kind,
        prompts=prompts,
        n=n,
        asked=tuple(asked),
        streamed=streamed,
        usage_streamed=_flag(options, "include_usage"),
        tokens_told=_flag(given, "return_token_ids"),
        echoed=echoed,
    )


# -- what there is -----------------------------------------------------------------------------------------------------


def _check_names(given: Mapping[str, Any], known: frozenset[str]) -> None:
    for name, value in given.items():
        if name in _ONLY and value not in _ONLY[name]:
            raise bad(
                f"Unsupported parameter: '{name}' is not supported with this model.", name, "unsupported_parameter"
            )
        if name not in known and name not in _MAKES_NO_DIFFERENCE and name not in _ONLY:
            raise bad(f"Unrecognized request argument supplied: {name[:64]}", name[:64])


def _check_model(given: Mapping[str, Any], ours: str) -> None:
    if "model" not in given:
        raise missing("model")
    model = given["model"]
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if model != ours:
        raise unknown_model(model)


def unknown_model(model: str) -> ApiError:
    return ApiError(
        404,
        f"The model `{model[:64]}` does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


# -- prompts -----------------------------------------------------------------------------------------------------------


def _prompts(given: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """A text, tokens, or a list of either."""
    prompt = given.get("prompt", "")
    if isinstance(prompt, str):
        return (tuple(tokenizer.of_prompt(prompt)),)
    if not isinstance(prompt, list):
        raise wrong_type("prompt", "a string, or a list of strings or tokens", prompt)
    if not prompt or (len(prompt) > _MOST_PROMPTS and not _is_token(prompt[0])):
        raise bad(f"Invalid 'prompt': from 1 to {_MOST_PROMPTS} prompts are taken, and {len(prompt)} came.", "prompt")
    if all(isinstance(each, str) for each in prompt):
        return tuple(tuple(tokenizer.of_prompt(each)) for each in prompt)
    if all(_is_token(each) for each in prompt):
        return (tuple(prompt),)
    if all(isinstance(each, list) and each and all(map(_is_token, each)) for each in prompt):
        return tuple(tuple(each) for each in prompt)
    raise bad(f"Invalid 'prompt': tokens are integers from 0 to {VOCABULARY - 1}, and prompts of one kind.", "prompt")


def _said(given: Mapping[str, Any], *, streamed: bool, choices: int) -> tuple[int, ...]:
    """What another replica has said already: this one goes on with the next token, as that one would have."""
    said = given.get("resume_token_ids", [])
    if not isinstance(said, list) or not all(map(_is_token, said)):
        raise wrong_type("resume_token_ids", "a list of tokens", said)
    if said and (choices != 1 or not streamed):
        raise bad("'resume_token_ids' is for one choice, and for a stream.", "resume_token_ids")
    if Sign.END in said:
        raise bad("Invalid 'resume_token_ids': what was said has ended.", "resume_token_ids")
    return tuple(said)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < VOCABULARY


def _chat_prompt(given: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    messages = given.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong_type("messages", "a list of one message or more", messages)
    return (tuple(tokenizer.of_chat([_turn(each, f"messages[{place}]") for place, each in enumerate(messages)])),)


def _turn(message: object, where: str) -> tuple[Sign, str]:
    if not isinstance(message, dict):
        raise wrong_type(where, "an object", message)
    role = message.get("role")
    if not isinstance(role, str) or role not in tokenizer.ROLES:
        legal = ", ".join(f"'{each}'" for each in tokenizer.ROLES)
        raise bad(
            f"Invalid value: {json.dumps(role)[:64]}. Supported values are: {legal}.", f"{where}.role", "invalid_value"
        )
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(each, f"{where}.content[{place}]") for place, each in enumerate(content))
    if not isinstance(content, str):
        raise wrong_type(f"{where}.content", "a string, or a list of text parts", content)
    return tokenizer.ROLES[role], content


def _part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(text := part.get("text"), str):
        return text
    raise bad("Invalid content: only parts of type 'text' are supported.", where, "invalid_value")


# -- how ---------------------------------------------------------------------------------------------------------------


def _sampling(kind: Kind, given: Mapping[str, Any]) -> Sampling:
    """But for the seed."""
    if kind is Kind.COMPLETION:
        logprobs = _integer(given, "logprobs", 0, low=0, high=5) if "logprobs" in given else None
    else:
        logprobs = _integer(given, "top_logprobs", 0, low=0, high=20)
        if not _flag(given, "logprobs"):
            if logprobs:
                raise bad("'logprobs' must be true where 'top_logprobs' is given.", "top_logprobs")
            logprobs = None
    top_k = _integer(given, "top_k", 0, low=-1)
    return Sampling(
        temperature=_number(given, "temperature", 1.0, low=0.0, high=2.0),
        top_p=_number(given, "top_p", 1.0, low=0.0, high=1.0),
        top_k=max(0, top_k),
        ignore_end=_flag(given, "ignore_eos"),
        logprobs=logprobs,
    )


def _most_tokens(kind: Kind, given: Mapping[str, Any], prompt: int, longest: int) -> int:
    name = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    if kind is Kind.CHAT and name not in given:
        asked, told = max(1, longest - prompt), "at least 1"
    else:
        asked = _integer(given, name, _DEFAULT_TOKENS, low=1)
        told = str(asked)
    if prompt + asked > longest:
        what = "messages" if kind is Kind.CHAT else "prompt"
        raise bad(
            f"This model's maximum context length is {longest} tokens. However, you requested {prompt + asked} tokens "
            f"({prompt} in the {what}, {told} in the completion). "
            f"Please reduce the length of the {what} or completion.",
            what,
            "context_length_exceeded",
        )
    return asked


def _stream_options(given: Mapping[str, Any], *, streamed: bool) -> Mapping[str, Any]:
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    if options and not streamed:
        raise bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    for name in options.keys() - _STREAM_OPTIONS:
        raise bad(f"Unrecognized request argument supplied: stream_options.{name[:64]}", f"stream_options.{name[:64]}")
    return options


def _stops(given: Mapping[str, Any]) -> tuple[str, ...]:
    stop = given.get("stop", [])
    stops: Sequence[Any] = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise wrong_type("stop", "a string or a list of strings", stop)
    if len(stops) > _MOST_STOPS:
        raise bad(
            f"Invalid 'stop': array too long. Expected an array with maximum length {_MOST_STOPS}, "
            f"but got an array with length {len(stops)} instead.",
            "stop",
            "array_above_max_length",
        )
    return tuple(each for each in stops if each)


def _integer(given: Mapping[str, Any], name: str, default: int, *, low: int, high: int = 2**31 - 1) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer", value)
    _check_range(name, "integer", value, low, high)
    return value


def _number(given: Mapping[str, Any], name: str, default: float, *, low: float, high: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, "a number", value)
    _check_range(name, "decimal", value, low, high)
    return float(value)


def _check_range(name: str, kind: str, value: float, low: float, high: float) -> None:
    # An integer may have a million digits, and writing them takes its time.
    but = f"but got {value if abs(value) < 1e30 else 'something enormous'} instead"
    if not value >= low:  # nor is what is no number
        raise bad(
            f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low}, {but}.",
            name,
            f"{kind}_below_min_value",
        )
    if value > high:
        raise bad(
            f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high}, {but}.",
            name,
            f"{kind}_above_max_value",
        )


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
