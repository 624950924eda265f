"""What apt prints is read into exact versions; what it does not say is not guessed."""

from tests.cluster.testbed.debian import exact, parse_uris

PRINTED = """Reading package lists...
The following NEW packages will be installed:
'http://mirror.invalid/pool/z/zlib1g_1.2.13_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 MD5Sum:ec42
'http://mirror.invalid/pool/g/libc6_2.36_amd64.deb' libc6_2.36-9+deb12u14_amd64.deb 2759320 
"""  # noqa: W291 - apt ends the line so where it has no hash


def test_files_are_found_with_and_without_a_hash_and_sorted() -> None:
    assert parse_uris(PRINTED) == ["libc6_2.36-9+deb12u14_amd64.deb", "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb"]


def test_an_epoch_is_written_as_apt_wants_it() -> None:
    assert [exact(file) for file in parse_uris(PRINTED)] == ["libc6=2.36-9+deb12u14", "zlib1g=1:1.2.13.dfsg-1"]


def test_nothing_printed_is_nothing_found() -> None:
    assert parse_uris("libc6 is already the newest version.\n") == []
