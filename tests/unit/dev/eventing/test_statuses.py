"""Statuses of Brokers and Triggers, and who is to be delivered to, from what is in the cluster."""

from typing import Any

from knative_mig.adapters.kube.kinds import FUNCTION
from knative_mig.dev.eventing.objects import BROKER, SERVICE, TRIGGER, WATCHED, Object
from knative_mig.dev.eventing.policies import BackOff, Policy
from knative_mig.dev.eventing.reconciling import Decided, decide
from knative_mig.ports.kube import Key

REF = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "fn", "namespace": "team"}
LETTERS = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "letters"}}
FN_URL, LETTERS_URL = "http://fn.team.svc.cluster.local", "http://letters.team.svc.cluster.local"
T = Key("team", "t")


class World:
    def __init__(self) -> None:
        self.seen: dict[Any, dict[Key, Object]] = {kind: {} for kind in WATCHED}
        self.put(
            BROKER, "default", {"delivery": {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}}
        )
        self.put(FUNCTION, "fn", {}, {"address": {"url": FN_URL}})
        self.put(SERVICE, "letters", {})

    def put(self, kind: Any, name: str, spec: Object, status: Object | None = None, **about: Any) -> None:
        metadata = {"namespace": "team", "name": name, "uid": name, "generation": 1, **about}
        body = {"metadata": metadata, "spec": spec, **({"status": status} if status else {})}
        self.seen[kind][Key("team", name)] = body

    def trigger(self, **spec: Any) -> None:
        self.put(TRIGGER, "t", {"broker": "default", "subscriber": {"ref": REF}, **spec})

    def look(self) -> Decided:
        """And have the statuses written."""
        decided = decide(self.seen, lambda key: f"http://here/{key.namespace}/{key.name}", 0.0)
        for (kind, key), status in decided.statuses.items():
            self.seen[kind][key] = {**self.seen[kind][key], "status": status}
        return decided

    def unhappy(self, kind: Any = TRIGGER, name: str = "t") -> dict[str, tuple[str, str]]:
        conditions = self.seen[kind][Key("team", name)]["status"]["conditions"]
        return {
            each["type"]: (each["status"], each.get("reason", "")) for each in conditions if each["status"] != "True"
        }


def test_a_broker_is_ready_with_an_address_as_soon_as_it_is_seen() -> None:
    world = World()
    decided = world.look()
    assert world.unhappy(BROKER, "default") == {}
    status = decided.statuses[(BROKER, Key("team", "default"))]
    assert status["address"] == {"name": "http", "url": "http://here/team/default"}
    assert [each["type"] for each in status["conditions"]] == [
        *("Addressable", "DeadLetterSinkResolved", "EventPoliciesReady", "FilterReady", "IngressReady", "Ready"),
        "TriggerChannelReady",
    ]
    assert decided.brokers == {Key("team", "default")}


def test_nothing_is_written_where_all_is_said() -> None:
    world = World()
    world.trigger()
    assert world.look().statuses == world.look().statuses


def test_a_trigger_has_its_subscribers_url_and_its_brokers_delivery() -> None:
    world = World()
    world.trigger()
    decided = world.look()
    assert world.unhappy() == {}
    assert decided.statuses[(TRIGGER, T)]["subscriberUri"] == FN_URL
    [subscription] = decided.subscriptions
    assert subscription.policy == Policy(retries=10, back_off=BackOff.EXPONENTIAL, delay_s=0.2)
    assert (subscription.subscriber, subscription.dead_letters) == (FN_URL, "")


def test_a_triggers_own_delivery_takes_the_place_of_its_brokers_whole_but_for_the_dead_letters() -> None:
    world = World()
    world.put(BROKER, "default", {"delivery": {"retry": 10, "deadLetterSink": LETTERS}})
    world.trigger(delivery={"backoffPolicy": "linear", "backoffDelay": "PT1S"})
    [subscription] = world.look().subscriptions
    assert subscription.policy == Policy(retries=0, back_off=BackOff.LINEAR, delay_s=1.0)
    assert subscription.dead_letters == LETTERS_URL


def test_a_uri_may_be_whole_or_below_what_a_ref_is_addressed_by() -> None:
    world = World()
    world.trigger(subscriber={"uri": "http://127.0.0.1:9/x"})
    assert world.look().subscriptions[0].subscriber == "http://127.0.0.1:9/x"
    world.trigger(subscriber={"ref": REF, "uri": "/ask"})
    assert world.look().subscriptions[0].subscriber == f"{FN_URL}/ask"
    world.trigger(subscriber={"uri": "/ask"})
    world.look()
    assert world.unhappy()["SubscriberResolved"] == ("False", "Unable to get the Subscriber's URI")


def test_a_trigger_of_a_broker_that_is_not_there_says_so_until_it_comes() -> None:
    world = World()
    broker = world.seen[BROKER].pop(Key("team", "default"))
    world.trigger()
    assert world.look().subscriptions == ()
    assert world.unhappy()["Ready"] == ("False", "BrokerDoesNotExist")
    world.seen[BROKER][Key("team", "default")] = broker
    assert len(world.look().subscriptions) == 1
    assert world.unhappy() == {}


def test_a_function_without_an_address_is_waited_for() -> None:
    world = World()
    world.put(FUNCTION, "fn", {})
    world.trigger()
    assert world.look().subscriptions == ()
    assert world.unhappy()["Ready"] == ("False", "Unable to get the Subscriber's URI")
    world.put(FUNCTION, "fn", {}, {"address": {"url": FN_URL}})
    assert len(world.look().subscriptions) == 1


def test_events_for_a_subscriber_that_has_gone_are_still_taken_in_for_it() -> None:
    world = World()
    world.trigger()
    world.look()
    del world.seen[FUNCTION][Key("team", "fn")]
    [subscription] = world.look().subscriptions
    assert subscription.subscriber == ""
    assert world.unhappy()["Ready"] == ("False", "Unable to get the Subscriber's URI")


def test_a_dead_letter_sink_that_is_not_to_be_found_holds_up_the_broker_and_its_triggers() -> None:
    world = World()
    del world.seen[SERVICE][Key("team", "letters")]
    world.put(BROKER, "default", {"delivery": {"deadLetterSink": LETTERS}})
    world.trigger()
    assert world.look().subscriptions == ()
    assert world.unhappy(BROKER, "default")["Ready"] == ("False", "Unable to get the dead letter sink's URI")
    assert world.unhappy()["BrokerReady"] == ("False", "Unable to get the dead letter sink's URI")


def test_a_delivery_that_nobody_can_make_out_is_told_and_harms_no_other_trigger() -> None:
    world = World()
    world.trigger(delivery={"retry": 1, "backoffPolicy": "linear", "backoffDelay": "soon"})
    world.put(TRIGGER, "other", {"broker": "default", "subscriber": {"ref": REF}})
    assert [each.trigger.name for each in world.look().subscriptions] == ["other"]
    assert world.unhappy()["Ready"] == ("False", "NotSubscribed")


def test_a_trigger_that_waits_for_a_source_says_that_there_are_none() -> None:
    world = World()
    world.trigger()
    world.seen[TRIGGER][T]["metadata"]["annotations"] = {
        "knative.dev/dependency": '{"kind": "PingSource", "name": "p"}'
    }
    world.look()
    assert world.unhappy()["Ready"] == ("False", "DependencyNotSupported")


def test_brokers_of_another_class_are_left_alone() -> None:
    world = World()
    world.put(BROKER, "default", {}, annotations={"eventing.knative.dev/broker.class": "Kafka"})
    world.trigger()
    assert world.look() == Decided(statuses={}, brokers=frozenset(), subscriptions=())
