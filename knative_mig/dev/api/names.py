"""What names may look like, and what is said of one that does not: labels, subdomains, and keys with a prefix.

Called by `validation` for what every object has, and by the checks of pods and nodes for what only they have.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from knative_mig.dev.api.causes import invalid_value
from knative_mig.dev.api.refusals import Cause

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
IS_LABEL: Final = re.compile(_LABEL)
IS_SUBDOMAIN: Final = re.compile(_SUBDOMAIN)
_QUALIFIED: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_IS_QUALIFIED: Final = re.compile(_QUALIFIED)
IS_LABEL_VALUE: Final = re.compile(rf"(({_QUALIFIED})?)")
SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
LABEL_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    r"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_QUALIFIED_TEXT: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    r"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def qualified(key: str, at: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not IS_SUBDOMAIN.fullmatch(prefix):
        yield invalid_value(at, key, f"prefix part {SUBDOMAIN_TEXT}")
    if len(name) > 63 or not _IS_QUALIFIED.fullmatch(name):
        yield invalid_value(at, key, _QUALIFIED_TEXT)


def label(name: str, at: str) -> Iterator[Cause]:
    if len(name) > 63:
        yield invalid_value(at, name, "must be no more than 63 bytes")
    if not IS_LABEL.fullmatch(name):
        yield invalid_value(at, name, "must not contain dots" if IS_SUBDOMAIN.fullmatch(name) else LABEL_TEXT)


def label_value(value: Any, at: str) -> Iterator[Cause]:
    if not isinstance(value, str) or len(value) > 63 or not IS_LABEL_VALUE.fullmatch(value):
        yield invalid_value(at, value, LABEL_VALUE_TEXT)
