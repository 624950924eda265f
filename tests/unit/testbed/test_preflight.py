"""Each refusal is one line that says what to do."""

import tempfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests.cluster.testbed import build, cgroups, network, packages, preflight
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.topology import NETWORK_VARIABLE, Topology


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("/var/lib/testbed", "lies where each node mounts its own folders"),
        ("/run", "lies where each node mounts its own folders"),
        ("/tmp/" + "x" * 60, "KNATIVE_MIG_TESTBED_STATE to a shorter path"),  # noqa: S108
    ],
)
def test_a_state_folder_that_cannot_work_is_refused(root: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        preflight.check_state_folder(State(root=Path(root)))


def test_a_folder_with_somebodys_files_is_refused() -> None:
    # pytest's own folders have names too long for the sockets below them.
    with tempfile.TemporaryDirectory() as name:
        state = State(root=Path(name))
        preflight.check_state_folder(state)
        (state.root / "thesis.txt").touch()
        with pytest.raises(BadInputError, match="is not empty and was not made by cluster-up"):
            preflight.check_state_folder(state)
        state.marker.touch()
        preflight.check_state_folder(state)


def test_too_little_disk_says_how_much_is_needed(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"GiB free and building it needs 1048576: free some"):
        preflight.require_space(tmp_path / "not" / "there" / "yet", 2**50, "building it")


@pytest.mark.parametrize("found", ["go1.25.9", "go1.26.5", "go1.9"])
def test_an_old_go_is_refused(found: str) -> None:
    with pytest.raises(BadInputError, match=f"{found} is too old: the pinned modules need Go 1.26.6 or newer"):
        build.require_go(found, "1.26.6")


@pytest.mark.parametrize("found", ["go1.26.6", "go1.26.10", "go1.27rc1", "go2.0"])
def test_a_newer_go_will_do(found: str) -> None:
    build.require_go(found, "1.26.6")


def test_a_runc_without_seccomp_is_refused() -> None:
    packages.require_seccomp("runc version 1.1.5\nspec: 1.0.2-dev\nlibseccomp: 2.5.4\n")
    with pytest.raises(BadInputError, match="was built without libseccomp"):
        packages.require_seccomp("runc version 1.4.0\nspec: 1.3.0\n")


def test_every_package_says_why() -> None:
    assert all(package.reason for package in packages.PACKAGES)


def test_a_version_1_tree_without_a_controller_is_refused(tmp_path: Path) -> None:
    for name in ("cpu,cpuacct", "memory", "pids"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    with pytest.raises(BadInputError, match=r"cgroup v1 at .* lacks the controllers cpuset"):
        cgroups.check(tmp_path)
    (tmp_path / "cpuset").mkdir()
    (tmp_path / "cpuset" / "cgroup.procs").touch()
    cgroups.check(tmp_path)


def test_a_version_2_tree_is_told_by_its_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    with pytest.raises(BadInputError, match=r"cgroup v2 at .* lacks the controllers cpuset"):
        cgroups.check(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    cgroups.check(tmp_path)


def test_a_network_that_the_machine_routes_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"10\.210\.0\.0/16 is in use .* for example KNATIVE_MIG_TESTBED_NETWORK="):
        network.require_free(Topology(), [IPv4Network("10.210.7.0/24")])
    network.require_free(Topology(), [IPv4Network("10.0.0.0/9"), IPv4Network("192.0.2.0/24")])
    with pytest.raises(BadInputError, match=r"KNATIVE_MIG_TESTBED_NETWORK=172\.16\.0\.0/16"):  # all of 10 is a VPN's
        network.require_free(Topology(), [IPv4Network("10.0.0.0/8")])


def test_routes_are_read_but_for_ours_and_the_default() -> None:
    text = (
        "default via 192.0.2.1 dev eth0\n"
        "10.210.16.0/24 via 10.210.0.10 dev kmig0\n"
        "local 192.0.2.2 dev eth0 table local scope host\n"
        "172.17.0.0/16 dev docker0 scope link\n"
        "unreachable 10.9.0.0/16\n"
    )
    assert network.routed_elsewhere(text) == [
        IPv4Network("192.0.2.2/32"),
        IPv4Network("172.17.0.0/16"),
        IPv4Network("10.9.0.0/16"),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("10.211.0.0/24", "must be a private /16"),
        ("224.1.0.0/16", "must be a private /16"),
        ("169.254.0.0/16", "must be a private /16"),
        ("everything", "is not an IPv4 network"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NETWORK_VARIABLE, value)
    with pytest.raises(BadInputError, match=words):
        Topology.from_environment()


def test_a_network_that_is_set_to_nothing_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NETWORK_VARIABLE, "")
    assert Topology.from_environment() == Topology()


def test_memory_is_read_from_meminfo() -> None:
    assert preflight.memory("MemTotal: 9 kB\nMemAvailable:    2048 kB\n") == 2 * 2**20


@pytest.mark.parametrize(
    ("machine", "capabilities", "gibibytes", "words"),
    [
        ("aarch64", "1ffffffffff", 8, "this machine is aarch64"),
        ("x86_64", "1ffffdfffff", 8, r"root has no CAP_SYS_ADMIN here"),
        ("x86_64", "00000000", 8, r"no CAP_NET_ADMIN and no CAP_SYS_ADMIN here"),
        ("x86_64", "1ffffffffff", 1, r"has 1\.0 GiB of memory and the cluster needs 3"),
    ],
)
def test_a_machine_that_cannot_do_it_is_refused_before_anything_is_built(
    machine: str, capabilities: str, gibibytes: int, words: str
) -> None:
    meminfo = f"MemTotal: {gibibytes * 2**20} kB\n"
    with pytest.raises(BadInputError, match=words):
        preflight.check_machine(machine, f"Name:\tpython\nCapEff:\t{capabilities}\n", meminfo)
    preflight.check_machine("x86_64", "CapEff:\t1fffeffffff\n", "MemTotal: 8388608 kB\n")


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    preflight.require_folder(tmp_path / "new" / "folder", "VARIABLE")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInputError, match=r"file is a file, .* set VARIABLE to another path"):
            preflight.require_folder(path, "VARIABLE")


def test_a_link_into_a_folder_that_nodes_hide_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        link = Path(name) / "state"
        link.symlink_to("/var/lib/elsewhere")
        with pytest.raises(BadInputError, match="lies where each node mounts its own folders"):
            preflight.check_state_folder(State(root=link))


def test_the_space_asked_for_follows_what_must_be_built() -> None:
    assert preflight.build_space([]) == 0
    assert (
        preflight.build_space(["etcd"])
        < preflight.build_space(["kubernetes"])
        < preflight.build_space(["kubernetes", "etcd"])
    )
