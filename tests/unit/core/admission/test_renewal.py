"""When certificates are made anew, and why an API server never meets one that it cannot check."""

from dataclasses import replace

import pytest

from knative_mig.core.admission.renewal import AUTHORITY_S, SERVER_S, SETTLES_S, Authority, Held, Step, next_step

NOW = 2_000_000_000.0
DAY_S = 86_400.0


def authority(name: str = "first", *, age_s: float = DAY_S) -> Authority:
    return Authority(id=name, since=NOW - age_s, until=NOW - age_s + AUTHORITY_S)


def held(*authorities: Authority, signed_by: str = "first", left_s: float = SERVER_S) -> Held:
    return Held(
        authorities=authorities or (authority(),), can_sign=True, signed_by=signed_by, server_until=NOW + left_s
    )


def test_a_sound_certificate_is_kept() -> None:
    assert next_step(held(), NOW) is Step.KEEP


def test_where_nothing_is_there_all_is_made() -> None:
    assert next_step(None, NOW) is Step.NEW_AUTHORITY


def test_an_authority_whose_key_is_gone_or_wrong_is_replaced() -> None:
    assert next_step(replace(held(), can_sign=False), NOW) is Step.NEW_AUTHORITY


@pytest.mark.parametrize("left_s", [0.0, -DAY_S, SERVER_S / 3 - 1], ids=["over", "long over", "in its last third"])
def test_a_server_certificate_is_renewed_in_its_last_third(left_s: float) -> None:
    assert next_step(held(left_s=left_s), NOW) is Step.SIGN
    assert next_step(held(left_s=SERVER_S / 3 + 1), NOW) is Step.KEEP


def test_a_server_certificate_for_other_names_is_replaced() -> None:
    assert next_step(replace(held(), names_match=False), NOW) is Step.SIGN


def test_a_server_certificate_that_no_authority_here_signed_is_replaced() -> None:
    assert next_step(held(signed_by="somebody"), NOW) is Step.SIGN


def test_an_authority_is_followed_by_another_in_its_last_third() -> None:
    assert next_step(held(authority(age_s=AUTHORITY_S * 2 / 3 + 1)), NOW) is Step.NEW_AUTHORITY
    assert next_step(held(authority(age_s=AUTHORITY_S * 2 / 3 - 1)), NOW) is Step.KEEP


def test_an_authority_that_ran_out_is_followed_at_once() -> None:
    assert next_step(held(authority(age_s=AUTHORITY_S + 1), left_s=-1), NOW) is Step.NEW_AUTHORITY


def test_a_new_authority_signs_only_when_every_api_server_has_heard_of_it() -> None:
    old = authority(age_s=AUTHORITY_S * 0.7)
    fresh, settled = authority("second", age_s=SETTLES_S - 1), authority("second", age_s=SETTLES_S)
    assert next_step(held(fresh, old), NOW) is Step.KEEP
    assert next_step(held(settled, old), NOW) is Step.SIGN
    assert next_step(held(settled, old, signed_by="second"), NOW) is Step.KEEP


def test_a_new_authority_signs_at_once_where_what_is_there_convinces_nobody() -> None:
    old, fresh = authority(age_s=AUTHORITY_S * 0.7), authority("second", age_s=1.0)
    assert next_step(held(fresh, old, left_s=-1), NOW) is Step.SIGN
    assert next_step(held(fresh, signed_by=""), NOW) is Step.SIGN


def test_a_clock_that_is_behind_the_other_replicas_waits() -> None:
    assert next_step(held(authority(age_s=-30.0)), NOW) is Step.KEEP
