"""What the node agent and the relay say to each other, in the directory that the agent mounted for this container.

Called by `process`. The agent says by a file that the pod was told to end. It is asked over its socket to take the
slice back when nothing of the engine is left, and looks for itself whether that is so.
"""

import json
import socket
from pathlib import Path
from typing import Final

_SOCKET: Final = "agent.sock"
_DELETED: Final = "deleted"
_ANSWERS_WITHIN_S: Final = 5.0


def is_deleted(folder: Path) -> bool:
    return (folder / _DELETED).exists()


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
