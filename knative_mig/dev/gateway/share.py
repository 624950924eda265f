"""How many connections the gateway takes, by the files that it may have open for them.

Asked by the composing process. A request that is held is two files, its connection and its bell, and one that is served
is two as well; a connection to a pod that is kept for the next request is one. The subtle thing is a crowd: where there
are files for fewer than come, the rest waits in the port's queue, for to be refused would help nobody.
"""

from dataclasses import dataclass
from typing import Final

from knative_mig.dev.gateway.gateway import MOST_KEPT
from knative_mig.dev.gateway.server import MOST_CONNECTIONS

_OF_A_REQUEST: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    connections: int
    kept: int  # to pods, of which no request has need just now
    waits: bool  # who comes when there are no more, instead of being refused


def share_of(files: int) -> Share:
    kept = min(files // 5, MOST_KEPT)
    connections = (files - kept) // _OF_A_REQUEST
    return Share(connections=min(connections, MOST_CONNECTIONS), kept=kept, waits=connections < MOST_CONNECTIONS)
