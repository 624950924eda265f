"""How many connections there are for how many files."""

import pytest

from knative_mig.dev.gateway.share import Share, share_of


@pytest.mark.parametrize(
    ("files", "share"),
    [
        (48, Share(connections=19, kept=9, waits=True)),
        (636, Share(connections=254, kept=127, waits=True)),
        (1_000_000, Share(connections=12_000, kept=6_000, waits=False)),
    ],
    ids=["the fewest", "1024 in all", "as many as one likes"],
)
def test_each_request_has_two(files: int, share: Share) -> None:
    assert share_of(files) == share
    assert 2 * share.connections + share.kept <= files
