"""What an engine tells of its models: which they are, so that none goes on with another's text, and how long it gets.

Called by `process` when the engine answers. The list is OpenAI's; what is beside a model's name in it is vLLM's
(`root`: from where it was loaded, `max_model_len`) and the tiny model's (`fingerprint`: of its weights).
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from services.relay.resumable import Traits

_TELLS_WITHIN_S: Final = 10.0
_MOST: Final = 1024 * 1024  # bytes of a list
_LONGEST_NAME: Final = 256
_TELL_WHICH: Final = ("root", "fingerprint")


def asked(port: int) -> tuple[Mapping[str, Any], ...]:
    """Empty: it does not tell."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TELLS_WITHIN_S)
    try:
        connection.request("GET", "/v1/models")
        models = json.loads(connection.getresponse().read(_MOST))["data"]
    except (OSError, http.client.HTTPException, ValueError, RecursionError, KeyError, TypeError):
        return ()
    finally:
        connection.close()
    if not isinstance(models, list):
        return ()
    return tuple(each for each in models if isinstance(each, dict) and isinstance(each.get("id"), str))


def with_models(traits: Traits, models: Sequence[Mapping[str, Any]]) -> Traits:
    lengths = [model.get("max_model_len") for model in models]
    known = [each for each in lengths if isinstance(each, int)]
    return replace(
        traits,
        longest=min(known) if known and len(known) == len(lengths) else None,
        models=tuple((model["id"], _told_of(model)) for model in models),
    )


def _told_of(model: Mapping[str, Any]) -> str:
    told = [f"{name} {model[name]}"[:_LONGEST_NAME] for name in _TELL_WHICH if isinstance(model.get(name), str)]
    return ", ".join((model["id"][:_LONGEST_NAME], *told))
