"""Certificates that are made and read back: what belongs together is believed, all else is as if it were not there."""

import ssl
from collections.abc import Mapping

import pytest

from knative_mig.adapters import certificates
from knative_mig.adapters.certificates import AUTHORITIES, AUTHORITY_KEY, FILES, SERVER, SERVER_KEY
from knative_mig.core.admission.renewal import AUTHORITY_S, SERVER_S, SETTLES_S, Held, Step, convinces, next_step

NOW = 1_800_000_000.0
NAMES = ("webhook.knative-mig", "webhook.knative-mig.svc")
Files = Mapping[str, bytes]


def kept(files: Files, now: float = NOW) -> tuple[Files, list[Step]]:
    """What the keeper makes of them."""
    steps: list[Step] = []
    while (step := next_step(certificates.held(files, NAMES), now)) is not Step.KEEP:
        steps.append(step)
        files = certificates.after(step, files, NAMES, now)
        assert len(steps) < 4
    return files, steps


def read(files: Files) -> Held:
    held = certificates.held(files, NAMES)
    assert held
    return held


@pytest.fixture(scope="module")
def made() -> Files:
    return kept({})[0]


def test_from_nothing_an_authority_and_a_certificate_are_made(made: Files) -> None:
    assert kept({})[1] == [Step.NEW_AUTHORITY, Step.SIGN]
    assert set(made) == set(FILES)
    held = read(made)
    assert convinces(held, NOW)
    assert held.server_until == NOW + SERVER_S
    assert held.authorities[0].since == NOW
    assert held.authorities[0].until == NOW + AUTHORITY_S
    assert kept(made)[1] == []


def test_openssl_believes_it(made: Files) -> None:
    assert len(ssl.create_default_context(cadata=made[AUTHORITIES].decode()).get_ca_certs()) == 1


def test_two_that_are_made_at_once_are_strangers(made: Files) -> None:
    other = kept({})[0]
    mixed = {**made, SERVER: other[SERVER], SERVER_KEY: other[SERVER_KEY]}
    assert read(mixed).signed_by == ""
    assert kept(mixed)[1] == [Step.SIGN]


def test_a_certificate_is_renewed_by_the_same_authority(made: Files) -> None:
    later, steps = kept(made, NOW + SERVER_S * 0.7)
    assert steps == [Step.SIGN]
    assert later[AUTHORITIES] == made[AUTHORITIES]
    assert later[SERVER] != made[SERVER]


def test_an_authority_is_followed_without_a_moment_in_which_the_served_one_is_not_believed(made: Files) -> None:
    then = NOW + AUTHORITY_S * 0.7
    before, _ = kept(made, then - SERVER_S * 0.5)
    announced, steps = kept(before, then)
    assert steps == [Step.NEW_AUTHORITY]
    assert announced[SERVER] == before[SERVER]
    assert announced[AUTHORITIES].endswith(before[AUTHORITIES])
    assert [each.id for each in read(announced).authorities][1:] == [each.id for each in read(before).authorities]
    settled, steps = kept(announced, then + SETTLES_S)
    assert steps == [Step.SIGN]
    assert settled[AUTHORITIES] == announced[AUTHORITIES]
    assert read(settled).signed_by == read(settled).authorities[0].id


def test_an_authority_that_ran_out_is_not_carried_along(made: Files) -> None:
    files, _ = kept(made, NOW + AUTHORITY_S + 1)
    assert len(read(files).authorities) == 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_is_damaged_is_made_anew(made: Files, name: str, content: bytes) -> None:
    files, steps = kept({**made, name: content})
    assert steps
    assert convinces(read(files), NOW)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_made_anew(made: Files, name: str) -> None:
    files, _ = kept({key: value for key, value in made.items() if key != name})
    assert convinces(read(files), NOW)


def test_a_key_that_is_another_ones_is_no_key(made: Files) -> None:
    other = kept({})[0]
    assert not read({**made, AUTHORITY_KEY: other[AUTHORITY_KEY]}).can_sign
    assert read({**made, SERVER_KEY: other[SERVER_KEY]}).signed_by == ""


def test_a_certificate_for_another_name_is_replaced(made: Files) -> None:
    assert certificates.held(made, ("elsewhere.svc",)) != certificates.held(made, NAMES)
    assert next_step(certificates.held(made, ("elsewhere.svc",)), NOW) is Step.SIGN
