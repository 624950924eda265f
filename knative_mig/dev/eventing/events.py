"""An event as a Broker carries it: its attributes, which it looks at, and its data, which are none of its business."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    source: str
    id: str
    type: str
    subject: str = ""
    time: str = ""  # RFC 3339, in one spelling
    dataschema: str = ""
    specversion: str = "1.0"  # or 0.3, which stays so on its way
    extensions: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""  # of the data; empty: nobody said
    content: bytes = b""
