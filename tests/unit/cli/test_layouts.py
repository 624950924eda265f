import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "data" / "mig_tables.json").read_text()
)["edge_vectors"]


def one(mig_devices: str, *, devices: str = "all", device_filter: str = "") -> bytes:
    """A file with one config of one entry."""
    told = f"\n      device-filter: {device_filter}" if device_filter else ""
    return (
        f"version: v1\nmig-configs:\n  mine:\n    - devices: {devices}{told}\n"
        f"      mig-enabled: true\n      mig-devices: {mig_devices}\n"
    ).encode()


def test_draws_a_witness_for_each_model_that_a_device_filter_names(cli: Cli) -> None:
    outcome = cli(
        "layouts",
        "check",
        "-",
        stdin=b"""
version: v1
mig-configs:
  all-disabled:
    - devices: all
      mig-enabled: false
  all-balanced:
    - device-filter: ["0x20B010DE", "0x20F110de"]
      devices: [0, 1]
      mig-enabled: true
      mig-devices: {"1g.5gb": 2, "2g.10gb": 1, "3g.20gb": 1}
    - device-filter: "0x20B710DE"
      devices: all
      mig-enabled: true
      mig-devices: {"1g.6gb": 2, "2g.12gb": 1}
    - device-filter: "0x2BB510DE:0x123410DE"
      devices: all
      mig-enabled: true
      mig-devices: {}
""",
    )
    assert outcome.code == 0
    assert (
        outcome.out
        == """\
legal      all-disabled
    no slices
      note: MIG is off: no slices
legal      all-balanced
    [0] 2 x 1g.5gb, 1 x 2g.10gb, 1 x 3g.20gb on GPU 0, 1
      A100-40GB  |1g----|1g----|2g-----------|3g-------------------------|
    [1] 2 x 1g.6gb, 1 x 2g.12gb
      A30-24GB  |1g----|1g----|2g-----------|
    [2] no slices
      RTX-PRO-6000-BLACKWELL-96GB  |   |   |   |   |   |   |   |   |   |   |   |   |

2 configs: 2 legal, 0 not legal
"""
    )


def test_says_why_a_layout_is_not_legal(cli: Cli) -> None:
    outcome = cli(
        "layouts",
        "check",
        "-",
        "--model",
        "A100-40GB",
        stdin=b"""
version: v1
mig-configs:
  too-much:
    - devices: all
      mig-enabled: true
      mig-devices: {"3g.20gb": 2, "1g.5gb": 1}
  apart:
    - devices: all
      mig-enabled: true
      mig-devices: {"4g.20gb": 1, "2g.10gb": 2}
  other-driver:
    - devices: all
      mig-enabled: true
      mig-devices: {"3g.19gb": 1}
  fits:
    - devices: all
      mig-enabled: true
      mig-devices: {"4g.20gb": 1, "3g.20gb": 1}
""",
    )
    assert outcome.code == 1
    assert (
        outcome.out
        == """\
not legal  too-much
    2 x 3g.20gb, 1 x 1g.5gb
      not legal on A100-40GB: needs 9 memory units, A100-40GB has 8
not legal  apart
    1 x 4g.20gb, 2 x 2g.10gb
      not legal on A100-40GB: no legal starts fit together: 4g.20gb at 0; 2g.10gb at 0, 2, 4
not legal  other-driver
    1 x 3g.19gb
      not legal on A100-40GB: 3g.19gb is not a profile of A100-40GB: it has \
1g.5gb, 1g.5gb+me, 1g.10gb, 2g.10gb, 3g.20gb, 4g.20gb, 7g.40gb
legal      fits
    1 x 4g.20gb, 1 x 3g.20gb
      A100-40GB  |4g-------------------------|3g-------------------------|

4 configs: 1 legal, 3 not legal
"""
    )


def findings(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines() if line.startswith(" " * 6)]


def test_where_the_file_does_not_say_one_model_is_enough(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.10gb": 7}'))
    assert outcome.code == 0
    assert [line.split()[0] for line in findings(outcome.out)] == ["A100-80GB", "H100-80GB"]


def test_no_slices_are_legal_on_any_model(cli: Cli) -> None:
    assert findings(cli("layouts", "check", "-", stdin=one("{}")).out) == ["any model"]


def test_profiles_that_no_model_has_together(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.5gb": 1, "3g.40gb": 1, "7g.79gb": 1, "5g.20gb": 1}'))
    assert outcome.code == 1
    assert findings(outcome.out) == [
        (
            "no model has all of these profiles: 1g.5gb is of A100-40GB; 3g.40gb is of A100-80GB, H100-80GB; 7g.79gb "
            "is of none (another driver's name of 7g.80gb on A100-80GB, 7g.80gb on H100-80GB); 5g.20gb is of none"
        )
    ]


def test_every_model_that_has_the_profiles_says_why_not(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"4g.40gb": 2}'))
    assert findings(outcome.out) == [
        "not legal on A100-80GB: 2 x 4g.40gb: A100-80GB holds at most 1",
        "not legal on H100-80GB: 2 x 4g.40gb: H100-80GB holds at most 1",
    ]


def test_every_model_of_a_filter_must_hold_the_layout(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.10gb": 7}', device_filter='["0x20B210DE", "0x20B010DE"]'))
    assert outcome.code == 1
    assert findings(outcome.out) == [
        "A100-80GB  |1g----|1g----|1g----|1g----|1g----|1g----|1g----|      |",
        "not legal on A100-40GB: 7 x 1g.10gb: A100-40GB holds at most 4",
    ]


def test_of_models_that_share_a_device_id_one_is_enough(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.24gb": 7}', device_filter='"0x294110DE"'))
    assert outcome.code == 0
    picture, note = findings(outcome.out)
    assert picture.startswith("GB200-189GB  |1g----|")
    assert note.startswith("note: GB200-186GB shares a device id and is not meant: 1g.24gb is not a profile of ")
    assert "(another driver's name of 1g.23gb)" in note


def test_an_unknown_device_id_beside_known_ones_is_noted(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.6gb": 4}', device_filter='["0xFFFF10DE", "0x20B710DE"]'))
    assert outcome.code == 0
    assert findings(outcome.out)[1] == "note: 0xFFFF10DE is no GPU whose geometry is known: not checked for it"


def test_an_unknown_device_id_alone_is_bad_input(cli: Cli) -> None:
    outcome = cli("layouts", "check", "-", stdin=one('{"1g.6gb": 4}', device_filter='"0xFFFF10DE"'))
    assert outcome.code == 2
    assert outcome.err.startswith(
        "standard input:5: mig-configs.mine[0].device-filter: 0xFFFF10DE is no GPU whose geometry is known: "
        "legal are 0x20B710DE (A30-24GB), 0x20B010DE (A100-40GB), "
    )


def test_an_unknown_device_without_mig_is_no_matter(cli: Cli) -> None:
    stdin = b'version: v1\nmig-configs: {x: [{devices: all, mig-enabled: false, device-filter: "0x1FB010DE"}]}'
    assert cli("layouts", "check", "-", stdin=stdin).code == 0


def test_a_model_that_is_given_leaves_out_entries_for_others(cli: Cli) -> None:
    stdin = one('{"1g.10gb": 7}', device_filter='"0x20B010DE"')
    outcome = cli("layouts", "check", "-", "--model", "A30-24GB", stdin=stdin)
    assert outcome.code == 0
    assert findings(outcome.out) == ["note: its device filter does not name A30-24GB"]
    assert cli("layouts", "check", "-", "--model", "A100-40GB", stdin=stdin).code == 1


@pytest.mark.parametrize("legality", ["valid", "invalid"])
def test_agrees_with_what_is_known_of_edge_cases(cli: Cli, legality: str) -> None:
    for vector in VECTORS[legality]:
        outcome = cli("layouts", "check", "-", "--model", vector["model"], stdin=one(json.dumps(vector["mig_devices"])))
        assert outcome.code == (0 if legality == "valid" else 1), vector


def test_data(cli: Cli) -> None:
    stdin = one('{"1g.10gb": 4}', devices="[0]", device_filter='["0x20B010DE", "0x20B710DE"]')
    outcome = cli("layouts", "check", "--json", "-", stdin=stdin)
    assert outcome.code == 1
    assert json.loads(outcome.out) == {
        "illegal": 1,
        "configs": [
            {
                "config": "mine",
                "legal": False,
                "entries": [
                    {
                        "legal": False,
                        "applies": True,
                        "mig_enabled": True,
                        "devices": [0],
                        "counts": {"1g.10gb": 4},
                        "witnesses": [
                            {
                                "model": "A100-40GB",
                                "places": [{"profile": "1g.10gb", "start": start} for start in (0, 2, 4, 6)],
                            }
                        ],
                        "obstacles": [
                            {
                                "model": "A30-24GB",
                                "why": "1g.10gb is not a profile of A30-24GB: "
                                "it has 1g.6gb, 1g.6gb+me, 2g.12gb, 2g.12gb+me, 4g.24gb",
                            }
                        ],
                        "notes": [],
                    }
                ],
            }
        ],
    }


HEAD = "version: v1\nmig-configs:\n  mine:\n    - "
ENTRY = "standard input:4: mig-configs.mine[0]"
BAD_FILES = {
    "no-version": ("mig-configs: {}", "standard input:1: version is missing: it needs version, mig-configs"),
    "version-2": ("version: v2\nmig-configs: {}", "standard input:1: version: is 'v2', legal is v1"),
    "version-number": ("version: 1\nmig-configs: {}", "standard input:1: version: is 1, legal is v1 (in quotes)"),
    "other-key": (
        "version: v1\nmig-config: {}",
        "standard input:2: mig-config: is no key that is known here: legal are version, mig-configs",
    ),
    "a-config-map": (
        "kind: ConfigMap",
        (
            "standard input:1: is a Kubernetes object: legal is the mig-parted file in it "
            r"(kubectl get configmap NAME -o jsonpath='{.data.config\.yaml}')"
        ),
    ),
    "no-configs": (
        "version: v1\nmig-configs: {}",
        "standard input:2: mig-configs: is empty: legal is one config at least",
    ),
    "a-list-of-configs": (
        "version: v1\nmig-configs: []",
        "standard input:2: mig-configs: is a list, legal is a mapping (key: value)",
    ),
    "no-entries": (
        "version: v1\nmig-configs: {mine: []}",
        "standard input:2: mig-configs.mine: is empty: legal is one entry at least",
    ),
    "one-entry-without-a-list": (
        "version: v1\nmig-configs: {mine: {devices: all}}",
        "standard input:2: mig-configs.mine: is a mapping, legal is a list",
    ),
    "no-devices": (
        HEAD + "{mig-enabled: false}",
        ENTRY + ": devices is missing: it needs devices, mig-enabled",
    ),
    "devices-some": (
        HEAD + "{devices: some, mig-enabled: false}",
        ENTRY + ".devices: is 'some', legal is all, or a list of GPU indices like [0, 1]",
    ),
    "device-negative": (
        HEAD + "{devices: [0, -1], mig-enabled: false}",
        ENTRY + ".devices[1]: is -1, legal is a whole number from 0 to 1000",
    ),
    "device-true": (
        HEAD + "{devices: [true], mig-enabled: false}",
        ENTRY + ".devices[0]: is true, legal is a whole number from 0 to 1000",
    ),
    "enabled-yes": (
        HEAD + "{devices: all, mig-enabled: yes}",
        ENTRY + ".mig-enabled: is 'yes', legal is true or false",
    ),
    "enabled-without-devices": (
        HEAD + "{devices: all, mig-enabled: true}",
        ENTRY + ": mig-devices is missing: legal is profile: count, or {} for no slices, where mig-enabled is true",
    ),
    "disabled-with-devices": (
        HEAD + "{devices: all, mig-enabled: false, mig-devices: {1g.5gb: 1}}",
        ENTRY + ".mig-devices: names slices where mig-enabled is false: legal is {}",
    ),
    "slices-as-a-list": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: [1g.5gb]}",
        ENTRY + ".mig-devices: is a list, legal is a mapping (key: value)",
    ),
    "slices-left-empty": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: }",
        ENTRY + ".mig-devices: is empty, legal is a mapping (key: value)",
    ),
    "only-zeros": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {1g.5gb: 0}}",
        ENTRY + ".mig-devices: has only counts of 0: legal is one slice at least, or {} for none",
    ),
    "count-negative": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {1g.5gb: -1}}",
        ENTRY + ".mig-devices['1g.5gb']: is -1, legal is a whole number from 0 to 1000",
    ),
    "count-huge": (
        HEAD + f"{{devices: all, mig-enabled: true, mig-devices: {{1g.5gb: {2**70}}}}}",
        ENTRY + ".mig-devices['1g.5gb']: is 1.18059e+21, legal is a whole number from 0 to 1000",
    ),
    "count-half": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {1g.5gb: 1.5}}",
        ENTRY + ".mig-devices['1g.5gb']: is 1.5, legal is a whole number from 0 to 1000",
    ),
    "count-text": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {1g.5gb: '1'}}",
        ENTRY + ".mig-devices['1g.5gb']: is '1', legal is a whole number from 0 to 1000",
    ),
    "no-such-profile": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {small: 1}}",
        ENTRY + ".mig-devices.small: 'small' is not a MIG profile: a profile is written like 3g.20gb, 1g.5gb+me, "
        "1g.24gb+me.all, 1g.24gb+gfx or 1g.24gb-me",
    ),
    "compute-instance": (
        HEAD + "{devices: all, mig-enabled: true, mig-devices: {1c.3g.20gb: 3}}",
        ENTRY + ".mig-devices['1c.3g.20gb']: '1c.3g.20gb' is a compute instance, a share of a slice: "
        "legal are whole slices like 3g.20gb",
    ),
    "filter-short": (
        HEAD + "{devices: all, mig-enabled: false, device-filter: '0x20B0'}",
        ENTRY + ".device-filter: is '0x20B0', legal is a PCI device id and vendor id in one, "
        'written like "0x20B010DE"',
    ),
    "filter-number": (
        HEAD + "{devices: all, mig-enabled: false, device-filter: 548409566}",
        ENTRY + ".device-filter: is 548409566, legal is a PCI device id and vendor id in one, "
        'written like "0x20B010DE" (in quotes), or a list of such',
    ),
    "filter-of-numbers": (
        HEAD + "{devices: all, mig-enabled: false, device-filter: [548409566]}",
        ENTRY + ".device-filter[0]: is 548409566, legal is a PCI device id and vendor id in one, "
        'written like "0x20B010DE" (in quotes)',
    ),
    "other-vendor": (
        HEAD + "{devices: all, mig-enabled: false, device-filter: '0x73BF1002'}",
        ENTRY + ".device-filter: is '0x73BF1002', legal is NVIDIA's vendor id 10DE at its end",
    ),
}


@pytest.mark.parametrize(("text", "line"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_input_is_one_line_and_exit_2(cli: Cli, text: str, line: str) -> None:
    outcome = cli("layouts", "check", "-", stdin=text.encode())
    assert (outcome.code, outcome.out, outcome.err) == (2, "", line + "\n")


def test_an_unknown_model_is_bad_input(cli: Cli) -> None:
    outcome = cli("layouts", "check", "--model", "V100", "-", stdin=one("{}"))
    assert outcome.code == 2
    assert outcome.err.startswith("knative-mig layouts check: --model: 'V100' is not a known GPU model: known are ")
