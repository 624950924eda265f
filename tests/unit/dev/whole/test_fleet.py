"""Which node has which GPUs."""

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.whole.fleet import nodes_of, smallest_slice


def test_each_part_is_a_node_with_a_number_of_its_own() -> None:
    nodes = nodes_of("2xA100-40GB, 1xH100-80GB")
    assert [(each.name, each.number, each.gpus) for each in nodes] == [
        ("node-1", 0, "2xA100-40GB"),
        ("node-2", 1, "1xH100-80GB"),
    ]


def test_the_smallest_slice_of_a_node_is_named_as_a_pod_asks_for_it() -> None:
    assert [smallest_slice(each) for each in nodes_of("1xA100-40GB,1xH200-141GB")] == [
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/mig-1g.18gb",
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "not written like"),
        ("A100-40GB", "not written like"),
        ("2xA100-40GB,", "not written like"),
        ("1xB1000", "B1000"),
        ("0xA100-40GB", "^--gpus '0xA100-40GB' asks for 0 simulated GPUs: legal are 1 to 16 in each part"),
        ("17xA100-40GB", "legal are 1 to 16 in each part$"),
        ("1xA100-40GB,17xA100-40GB", "^--gpus '1xA100-40GB,17xA100-40GB': '17xA100-40GB' asks for 17 simulated GPUs: "),
        (",".join(["1xA100-40GB"] * 17), "at most 16 are"),
    ],
)
def test_what_is_no_fleet_is_said(wrong: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        nodes_of(wrong)
