"""Which revision a Host header is for."""

import pytest

from knative_mig.dev.gateway.facts import RouteFacts, Traffic
from knative_mig.dev.gateway.routing import Share, chosen, function_at, host_of, table_of, unknown
from knative_mig.ports.kube import Key

ROUTE = Key("team", "fn")
OLD, NEW = Key("team", "fn-00001"), Key("team", "fn-00002")


def a_route(*traffic: Traffic, is_local: bool = False) -> dict[Key, RouteFacts]:
    return {ROUTE: RouteFacts(traffic=traffic, is_local=is_local)}


@pytest.mark.parametrize("host", ["fn.team.localhost", "fn.team", "fn.team.svc", "fn.team.svc.cluster.local"], ids=str)
def test_a_function_answers_at_its_url_and_at_its_names_inside(host: str) -> None:
    table = table_of(a_route(Traffic(revision=NEW.name, percent=100)), "localhost")
    assert table[host] == (Share(NEW, 100),)


def test_a_function_that_is_local_has_no_url_outside() -> None:
    table = table_of(a_route(Traffic(revision=NEW.name, percent=100), is_local=True), "localhost")
    assert "fn.team.localhost" not in table
    assert "fn.team.svc" in table


def test_a_tag_has_all_of_its_revision_whatever_its_percentage() -> None:
    table = table_of(
        a_route(Traffic(revision=OLD.name, percent=90, tag="old"), Traffic(revision=NEW.name, percent=0, tag="new")),
        "localhost",
    )
    assert table["new-fn.team.localhost"] == (Share(NEW, 100),)
    assert table["old-fn.team.svc.cluster.local"] == (Share(OLD, 100),)
    assert table["fn.team.localhost"] == (Share(OLD, 90),)


def test_a_route_of_tags_alone_has_no_url_of_its_own() -> None:
    table = table_of(a_route(Traffic(revision=NEW.name, tag="new")), "localhost")
    assert "fn.team.localhost" not in table


def test_two_routes_whose_tags_read_the_same_do_not_take_turns() -> None:
    routes = {
        Key("team", "b-c"): RouteFacts(traffic=(Traffic(revision="second", tag="a"),)),
        Key("team", "a-b-c"): RouteFacts(traffic=(Traffic(revision="first", percent=100),)),
    }
    assert table_of(routes, "localhost")["a-b-c.team.localhost"] == (Share(Key("team", "first"), 100),)


def test_each_revision_gets_its_percentage_to_the_last_request() -> None:
    shares = (Share(OLD, 10), Share(NEW, 90))
    drawn = [chosen(shares, at / 1000) for at in range(1000)]
    assert (drawn.count(OLD), drawn.count(NEW)) == (100, 900)
    assert chosen(shares, 0.999999999999999999) == NEW  # which reads as 1


def test_percentages_that_are_not_yet_a_hundred_together_are_shares_all_the_same() -> None:
    shares = (Share(OLD, 1), Share(NEW, 1))
    assert [chosen(shares, at / 4) for at in range(4)] == [OLD, OLD, NEW, NEW]


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("fn.team.localhost", "fn.team.localhost"),
        ("FN.Team.LocalHost:8080", "fn.team.localhost"),
        ("fn.team.localhost:", "fn.team.localhost"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("", None),
        (":8080", None),
        ("fn.team.localhost:http", None),
        ("fn.team.localhost:123456", None),
        ("fn team", None),
        ("fn.team.localhost/path", None),
        ("user@fn.team.localhost", None),
        ("-fn.team", None),
        ("fn.team.localhost.:8080", "fn.team.localhost."),
        ("fn.team..", None),
        ("...", None),
        ("a" * 253 + ".", None),
        ("\xff\x00", None),
        ("a" * 254, None),
    ],
)
def test_a_host_is_read_with_its_port_or_is_none(header: str, host: str | None) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("host", "function"),
    [
        *((host, ROUTE) for host in ("fn.team.localhost", "fn.team", "fn.team.svc", "fn.team.svc.cluster.local")),
        *((host, None) for host in ("localhost", "fn.localhost", "a.fn.team.localhost", "[::1]", "fn.team.localhost.")),
    ],
)
def test_a_host_names_a_function_or_none(host: str, function: Key | None) -> None:
    assert function_at(host, "localhost") == function


READY = (Traffic(revision="r", percent=100),)


def said_of(host: str, routes: dict[Key, RouteFacts]) -> str:
    return unknown(host, routes, table_of(routes, "localhost"), "localhost")


def test_who_asks_for_an_unknown_function_is_told_which_there_are() -> None:
    routes = {Key("team", f"f{number}"): RouteFacts(traffic=READY) for number in range(7)}
    said = said_of("localhost", routes)
    assert said.startswith("no function has the host 'localhost': there are f0.team.localhost, f1.team.localhost, ")
    assert said.endswith("and more")


@pytest.mark.parametrize(
    ("routes", "there"),
    [
        ({}, "there is none"),
        (a_route(*READY), "there is fn.team.localhost"),
        (a_route(), "none is ready yet, and knative-mig ls shows why"),
        (a_route(*READY, is_local=True), "there is none"),
    ],
    ids=["none", "one", "one that is not ready", "one that is local"],
)
def test_who_asks_for_an_unknown_function_is_told_of_few_as_well(routes: dict[Key, RouteFacts], there: str) -> None:
    assert said_of("nobody.team.localhost", routes) == f"no function has the host 'nobody.team.localhost': {there}"


@pytest.mark.parametrize("host", ["fn.team.localhost", "fn.team", "fn.team.svc.cluster.local"], ids=str)
def test_a_function_that_is_not_ready_is_there(host: str) -> None:
    routes = {**a_route(), Key("team", "other"): RouteFacts(traffic=READY)}
    assert said_of(host, routes) == "team/fn is there, but nothing of it is ready yet: knative-mig ls shows why"


def test_a_function_that_answers_elsewhere_is_there() -> None:
    local = a_route(*READY, is_local=True)
    assert said_of("fn.team.localhost", local) == (
        "team/fn is there, but cluster-local: it has fn.team.svc.cluster.local"
    )
    tags = a_route(Traffic(revision="r", tag="new"))
    assert said_of("fn.team.localhost", tags) == (
        "team/fn is there, but all its traffic is by tags: it has new-fn.team.localhost"
    )


def test_a_dot_at_the_end_is_named() -> None:
    assert said_of("fn.team.localhost.", a_route(*READY)) == (
        "no function has the host 'fn.team.localhost.': there is fn.team.localhost, without the dot at its end"
    )
