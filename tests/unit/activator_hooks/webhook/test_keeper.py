"""Certificates kept by replicas that know nothing of one another but a Secret and two configurations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from activator_hooks.webhook.keeper import Keeper
from activator_hooks.webhook.metrics import WebhookMetrics
from knative_mig.adapters.certificates import AUTHORITIES, SERVER
from knative_mig.core.admission.renewal import AUTHORITY_S, SERVER_S, SETTLES_S
from knative_mig.ports.kube import ApiUnreachable, Conflict
from knative_mig.ports.webhook import StoredCertificates

NAMES = ("webhook.knative-mig.svc",)


@dataclass
class Cluster:
    """Both ports, and what a test lets happen between two calls."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    version: int = 1
    saves: int = 0
    bundles: dict[str, bytes] = field(default_factory=lambda: {"mutating": b"", "validating": b""})
    away: bool = False
    before_save: Callable[[], None] | None = None
    before_trust: Callable[[], None] | None = None

    def load(self) -> StoredCertificates:
        if self.away:
            raise ApiUnreachable("away")
        return StoredCertificates(files=self.files, resource_version=str(self.version))

    def save(self, files: Mapping[str, bytes], *, replaces: StoredCertificates) -> StoredCertificates:
        if self.before_save:
            happens, self.before_save = self.before_save, None
            happens()
        if replaces.resource_version != str(self.version):
            raise Conflict("changed")
        self.version += 1
        self.saves += 1
        self.files = files
        return self.load()

    def distrusting(self, bundle: bytes) -> tuple[str, ...]:
        found = tuple(name for name, has in self.bundles.items() if has != bundle)
        if found and self.before_trust:
            happens, self.before_trust = self.before_trust, None
            happens()
        return found

    def trust(self, name: str, bundle: bytes) -> None:
        self.bundles[name] = bundle


@dataclass
class Replica:
    cluster: Cluster
    now: float = 1_800_000_000.0
    served: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keeper = Keeper(
            store=self.cluster,
            configurations=self.cluster,
            identify=lambda certificate, _: self.served.append(certificate),
            names=NAMES,
            wall=lambda: self.now,
            metrics=WebhookMetrics(CollectorRegistry()),
            every_s=1.0,
        )

    def look(self) -> None:
        self.keeper.look()


def test_the_first_makes_certificates_and_has_both_configurations_believe_them() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    replica.look()
    assert replica.served == [cluster.files[SERVER]]
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}
    assert replica.keeper.unready == ""


def test_the_second_takes_those_that_are_there() -> None:
    cluster = Cluster()
    one, other = Replica(cluster), Replica(cluster)
    one.look()
    other.look()
    assert one.served == other.served
    assert cluster.saves == 1


def test_of_two_that_find_nothing_at_once_one_writes_and_both_serve_the_same() -> None:
    cluster = Cluster()
    one, other = Replica(cluster), Replica(cluster)
    cluster.before_save = other.look
    one.look()
    assert one.served == other.served == [cluster.files[SERVER]]
    assert cluster.saves == 1
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}


def test_looking_again_writes_nothing() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    for _ in range(3):
        replica.look()
    assert cluster.saves == 1
    assert len(replica.served) == 1


@pytest.mark.parametrize("overwritten", [b"", b"somebody else's"])
def test_a_bundle_that_somebody_overwrote_is_put_right(overwritten: bytes) -> None:
    cluster = Cluster()
    one, other = Replica(cluster), Replica(cluster)
    one.look()
    cluster.bundles["validating"] = overwritten
    other.look()
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}


def test_a_renewed_certificate_is_served_by_both() -> None:
    cluster = Cluster()
    one, other = Replica(cluster), Replica(cluster)
    for each in (one, other):
        each.look()
    for each in (one, other):
        each.now += SERVER_S * 0.7
        each.look()
    assert cluster.saves == 2
    assert one.served == other.served
    assert len(one.served) == 2


def test_a_new_authority_is_published_before_it_signs() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    replica.look()
    replica.now += AUTHORITY_S * 0.65
    replica.look()  # a new certificate by the old authority, which is not in its last third yet
    replica.now += AUTHORITY_S * 0.02
    replica.look()
    assert len(replica.served) == 2
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}
    assert cluster.files[AUTHORITIES].count(b"BEGIN CERTIFICATE") == 2
    replica.now += SETTLES_S
    replica.look()
    assert len(replica.served) == 3


def test_an_old_bundle_does_not_take_a_new_ones_place() -> None:
    """One has read the Secret, the other renews it and writes the configurations, the first goes on."""
    cluster = Cluster()
    one, other = Replica(cluster), Replica(cluster)
    one.look()
    cluster.bundles["mutating"] = b""

    def renew() -> None:
        other.now += AUTHORITY_S * 0.7
        other.look()

    cluster.before_trust = renew
    one.look()
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}


def test_one_that_loses_every_race_gives_up_until_the_next_look() -> None:
    cluster = Cluster()
    replica = Replica(cluster)

    def again() -> None:
        cluster.version += 1
        cluster.before_save = again

    cluster.before_save = again
    with pytest.raises(Conflict):
        replica.look()


def test_without_an_api_server_what_is_served_stays() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    assert replica.keeper.unready == "the certificates have not been looked at yet"
    replica.look()
    cluster.away = True
    with pytest.raises(ApiUnreachable):
        replica.look()
    assert replica.keeper.unready == ""


def test_a_secret_that_was_emptied_is_filled_again() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    replica.look()
    cluster.files = {}
    cluster.version += 1
    replica.look()
    assert len(replica.served) == 2
    assert set(cluster.bundles.values()) == {cluster.files[AUTHORITIES]}
