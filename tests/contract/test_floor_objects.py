"""What the floor and the mover read and write in Kubernetes: values with their owners, requests, records, marks."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from knative_mig.adapters.kube.floor_objects import (
    KubeFloorRequests,
    KubeFloorStore,
    KubeRevisions,
    requests,
    revision,
)
from knative_mig.adapters.kube.kinds import CONFIG_MAP, POD, REVISION
from knative_mig.adapters.kube.move_objects import KubeMoveStore
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.core.floor.values import MANAGER, Held, Request, Revision, Setting
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.choose import Journal
from knative_mig.core.mover.values import Leg, Move, Phase, PodRef, Spot
from knative_mig.ports.autoscaling import (
    FloorRecords,
    FloorRequests,
    FloorStore,
    MovedPods,
    MoveStore,
    Revisions,
    StoredMoves,
)
from knative_mig.ports.kube import AlreadyExists, Conflict, Key, ObjectNotFound, Refused
from tests.contract.kube_rigs import KubeRig
from tests.fake_api import FakeApi

OURS = "knative-mig"


@pytest.fixture
def rig() -> Iterator[KubeRig]:
    """The fake API alone: a real one would have Knative's controllers at these Revisions."""
    with FakeApi() as api:
        yield KubeRig(api.client(), "default")


@pytest.fixture
def made(rig: KubeRig) -> Revision:
    about = {
        "labels": {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": "3"},
        "annotations": {
            "autoscaling.knative.dev/min-scale": "1",
            "autoscaling.knative.dev/target-burst-capacity": "-1",
            "other": "stays",
        },
    }
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "desiredReplicas": 2}
    return seen(rig, rig.make(REVISION, "llm-00003", {"metadata": about, "spec": {}}, status=ready))


def seen(rig: KubeRig, key: Key) -> Revision:
    return revision(rig.client.get(REVISION, key))


class TestRevisions:
    def test_are_read_with_who_wrote_which_value(self, made: Revision) -> None:
        assert made.function == Function("default", made.name)
        assert (made.service, made.generation, made.ready, made.desired, made.burst) == ("llm", 3, True, 2, "-1")
        assert made.values == {Setting.MIN: "1"}
        assert made.owners == {Setting.MIN: frozenset({"knative-mig-tests"})}

    def test_a_quota_that_says_no_to_their_pods_is_read(self, rig: KubeRig) -> None:
        said = "pods are forbidden: exceeded quota: gpus"
        condition = {"type": "ResourcesAvailable", "status": "False", "message": said}
        spec = {"containers": [{"resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}]}
        found = seen(rig, rig.make(REVISION, "tiny-00001", {"spec": spec}, status={"conditions": [condition]}))
        assert found.denied is not None
        assert (str(found.denied.profile), found.denied.why) == ("1g.5gb", said)

    @pytest.mark.parametrize(
        ("state", "routed"), [("active", True), ("pending", True), ("reserve", False), (None, True)]
    )
    def test_and_whether_requests_come_to_them(
        self, rig: KubeRig, made: Revision, state: str | None, *, routed: bool
    ) -> None:
        key = Key(made.namespace, made.name)
        rig.client.merge(REVISION, key, {"metadata": {"labels": {"serving.knative.dev/routingState": state}}})
        assert seen(rig, key).routed is routed

    def test_a_write_touches_the_named_values_alone_and_is_noted_as_ours(self, rig: KubeRig, made: Revision) -> None:
        revisions: Revisions = KubeRevisions(rig.client)
        written = revisions.write(made, {Setting.MIN: "2", Setting.MAX: "4"})
        assert written == seen(rig, Key(made.namespace, made.name))
        assert written.values == {Setting.MIN: "2", Setting.MAX: "4"}
        assert written.owners == {Setting.MIN: frozenset({MANAGER}), Setting.MAX: frozenset({MANAGER})}
        body = rig.client.get(REVISION, Key(made.namespace, made.name))
        assert body["metadata"]["annotations"]["other"] == "stays"
        back = revisions.write(written, {Setting.MIN: "1", Setting.MAX: None})
        assert back.values == made.values

    def test_somebody_elses_edit_takes_a_value_over(self, rig: KubeRig, made: Revision) -> None:
        KubeRevisions(rig.client).write(made, {Setting.MIN: "2"})
        edit = {"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "5"}}}
        rig.client.merge(REVISION, Key(made.namespace, made.name), edit, manager="kubectl-annotate")
        found = seen(rig, Key(made.namespace, made.name))
        assert found.owners == {Setting.MIN: frozenset({"kubectl-annotate"})}

    def test_an_edit_that_was_not_seen_is_not_written_over(self, rig: KubeRig, made: Revision) -> None:
        edit = {"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "5"}}}
        rig.client.merge(REVISION, Key(made.namespace, made.name), edit)
        with pytest.raises(Conflict):
            KubeRevisions(rig.client).write(made, {Setting.MIN: "2"})

    def test_a_successor_of_the_same_name_is_not_written_on(self, rig: KubeRig, made: Revision) -> None:
        with pytest.raises(Conflict):
            KubeRevisions(rig.client).write(replace(made, uid="another", resource_version=""), {Setting.MIN: "2"})

    def test_what_knative_refuses_is_refused(self, rig: KubeRig, made: Revision) -> None:
        with pytest.raises(Refused, match="max-scale=2 is less than min-scale=3"):
            KubeRevisions(rig.client).write(made, {Setting.MIN: "3", Setting.MAX: "2"})


REQUEST = Request(
    component="move",
    name="team.llm-00001",
    namespace="team",
    revision="llm-00001",
    value=2.0,
    until=1_700_000_000.25,
    reason="makes room for team/big",
)


class TestRequests:
    def put(self, rig: KubeRig, *asked: Request) -> tuple[Request, ...]:
        port: FloorRequests = KubeFloorRequests(rig.client, OURS, "move")
        port.put(asked)
        return requests(rig.client.get(CONFIG_MAP, Key(OURS, "floor-move")))

    def test_are_read_as_they_were_put_and_are_all_that_stands(self, rig: KubeRig) -> None:
        of_service = replace(REQUEST, name="b", revision="", service="llm", setting=Setting.TARGET, value=2.5)
        more = (replace(of_service, setting=Setting.MAX, value=9.0), of_service)
        rest = (
            replace(of_service, setting=Setting.INITIAL, value=0.0),
            replace(of_service, setting=Setting.WINDOW, value=6.0),
        )
        assert self.put(rig, *more, *rest, REQUEST) == (*more, *rest, REQUEST)
        assert self.put(rig, REQUEST) == (REQUEST,)
        assert self.put(rig) == ()

    def test_the_same_again_is_no_write(self, rig: KubeRig) -> None:
        self.put(rig, REQUEST)
        before = rig.client.get(CONFIG_MAP, Key(OURS, "floor-move"))
        self.put(rig, REQUEST)
        assert rig.client.get(CONFIG_MAP, Key(OURS, "floor-move")) == before

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("minScale: 2", "is not JSON"),
            ('{"service": "team/llm", "minScale": 2}', "expires: is missing"),
            ('{"service": "llm", "minScale": 2, "expires": "2026-01-31T12:00:00Z"}', "service: is 'llm'"),
            ('{"minScale": 2, "expires": "2026-01-31T12:00:00Z"}', "service: is missing"),
            (
                '{"service": "a/b", "function": "a/c", "minScale": 2, "expires": "2026-01-31T12:00:00Z"}',
                "names both of function and service",
            ),
            ('{"service": "team/llm", "expires": "2026-01-31T12:00:00Z"}', "asks for nothing"),
            ('{"service": "team/llm", "minScale": "2", "expires": "2026-01-31T12:00:00Z"}', "minScale: is '2'"),
            ('{"service": "team/llm", "minScale": -2, "expires": "2026-01-31T12:00:00Z"}', "legal is 0 to"),
            ('{"service": "team/llm", "windowSeconds": 7200, "expires": "2026-01-31T12:00:00Z"}', "legal is 6 to 3600"),
            (f'{{"service": "team/llm", "minScale": {"9" * 400}, "expires": "2026-01-31T12:00:00Z"}}', "minScale"),
            ("[" * 100_000, "is not JSON"),
        ],
    )
    def test_an_entry_that_makes_no_sense_is_told_and_the_others_count(
        self, text: str, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = '{"function": "team/llm-00001", "minScale": 2, "expires": "2026-01-31T12:00:00Z"}'
        body = {"metadata": {"name": "floor-prewarm", "namespace": OURS}, "data": {"bad": text, "good": good}}
        assert [each.id for each in requests(body)] == ["prewarm/good min-scale=2"]
        assert words in caplog.text

    def test_other_config_maps_are_nobodys_requests(self) -> None:
        assert requests({"metadata": {"name": "knative-mig-moves"}, "data": {"resting": "{}"}}) == ()


class TestRecords:
    def test_of_the_floor_come_back_as_they_were_and_of_two_writers_one_writes(self, rig: KubeRig) -> None:
        store: FloorStore = KubeFloorStore(rig.client, OURS)
        assert store.load() == FloorRecords()
        held = {
            Setting.MIN: Held(users=None, wrote="2", done=True, overruled=frozenset({"move/a min-scale=3"})),
            Setting.MAX: Held(users="4", wrote=None),
        }
        saved = store.save(FloorRecords(records={"uid-1": held}, token=7))
        assert (saved.records, saved.token) == ({"uid-1": held}, 7)
        assert store.load() == saved
        with pytest.raises(AlreadyExists):
            store.save(FloorRecords(token=6))
        store.save(replace(saved, records={}))
        with pytest.raises(Conflict):
            store.save(saved)

    def test_of_moves_come_back_as_they_were_and_of_two_writers_one_writes(self, rig: KubeRig) -> None:
        store: MoveStore = KubeMoveStore(rig.client, OURS)
        assert store.load() == StoredMoves()
        spot = Spot(node=NodeName("n1"), slice=SliceId.parse("GPU-1/3g.20gb/4"))
        leg = Leg(
            function=Function("team", "llm-00001"),
            revision_uid="uid-r",
            old=PodRef(name="p1", uid="uid-p1"),
            source=spot,
            target=replace(spot, node=NodeName("n2")),
        )
        move = Move(
            beneficiary=PodRef(name="big", uid="uid-big"),
            function=Function("team", "big-00001"),
            place=spot,
            legs=(leg, leg),
            began=1.5,
            at=1,
            phase=Phase.MARKING,
            since=2.5,
            floor=3,
            until=99.0,
            known=frozenset({"uid-p1", "uid-p2"}),
            cost=7,
            why="because",
        )
        again = PodRef(name="new", uid="uid-new")
        recreation = replace(move, beneficiary=again, phase=Phase.SWITCHING, recreates=True)
        journal = Journal(moves={"uid-big": move, "uid-new": recreation}, resting={Function("team", "x"): 12.0})
        saved = store.save(StoredMoves(journal=journal, token=7))
        assert (saved.journal, saved.token) == (journal, 7)
        assert store.load() == saved
        with pytest.raises(AlreadyExists):
            store.save(StoredMoves(token=6))
        store.save(replace(saved, journal=Journal()))
        with pytest.raises(Conflict):
            store.save(saved)

    @pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"min-scale": 3}', '{"mean-scale": {}}'])
    def test_of_the_floor_that_somebody_broke_are_dropped(self, rig: KubeRig, text: str) -> None:
        rig.client.create(
            CONFIG_MAP, OURS, {"metadata": {"name": "knative-mig-floor"}, "data": {"uid": text, "fencing-token": "x"}}
        )
        found = KubeFloorStore(rig.client, OURS).load()
        assert (found.records, found.token) == ({}, 0)

    @pytest.mark.parametrize(
        "text", ["{", "[" * 100_000, '{"at": 1, "legs": []}', '{"beneficiary": {"function": "x"}}']
    )
    def test_of_moves_that_somebody_broke_are_dropped(self, rig: KubeRig, text: str) -> None:
        data = {"uid": text, "resting": '{"a/b": "soon"}'}
        rig.client.create(CONFIG_MAP, OURS, {"metadata": {"name": "knative-mig-moves"}, "data": data})
        assert KubeMoveStore(rig.client, OURS).load().journal == Journal()


class TestMovedPods:
    def pod(self, rig: KubeRig, name: str, revision_name: str) -> Key:
        labels = {"serving.knative.dev/revision": revision_name}
        return rig.make(POD, name, {"metadata": {"labels": labels}, "spec": {"containers": []}})

    def test_are_read_as_the_api_server_has_them(self, rig: KubeRig) -> None:
        pods: MovedPods = KubePods(rig.client)
        mine = self.pod(rig, "a", "llm-00001")
        self.pod(rig, "b", "llm-00002")
        assert [each.name for each in pods.read_of(Function("default", "llm-00001"))] == [mine.name]

    def test_a_deletion_cost_comes_and_goes_and_nothing_else_changes(self, rig: KubeRig) -> None:
        pods: MovedPods = KubePods(rig.client)
        key = self.pod(rig, "a", "llm-00001")
        uid = rig.uid(POD, key)
        pods.set_deletion_cost(key, uid=uid, cost=-5)
        assert [each.deletion_cost for each in pods.read_of(Function("default", "llm-00001"))] == [-5]
        pods.set_deletion_cost(key, uid=uid, cost=None)
        assert [each.deletion_cost for each in pods.read_of(Function("default", "llm-00001"))] == [None]

    def test_a_successor_is_not_marked(self, rig: KubeRig) -> None:
        key = self.pod(rig, "a", "llm-00001")
        with pytest.raises(ObjectNotFound):
            KubePods(rig.client).set_deletion_cost(key, uid="another", cost=-5)
