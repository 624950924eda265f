"""Asks the node agent to take the slice back, over the socket in the directory that it mounted for this container.

Called by `process` when nothing of the engine is left. The agent looks for itself whether that is so.
"""

import json
import socket
from pathlib import Path
from typing import Final

_SOCKET: Final = "agent.sock"
_ANSWERS_WITHIN_S: Final = 5.0


def why_not_released(folder: Path) -> str:
    """Empty: the slice is given back, or there is none as there is no agent."""
    if not folder.is_dir():
        return ""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_ANSWERS_WITHIN_S)
            agent.connect(str(folder / _SOCKET))
            agent.sendall(b'{"release": true}\n')
            with agent.makefile("rb") as answers:
                answer = json.loads(answers.readline(4096))
    except (OSError, ValueError) as error:
        return f"the agent cannot be asked: {error}"
    if isinstance(answer, dict) and answer.get("released") is True:
        return ""
    return str(answer.get("error", "it says nothing of why") if isinstance(answer, dict) else answer)
