import json

import pytest

from knative_mig.core.mig_tables import GPU_MODELS

from .conftest import Cli


def test_lists_every_model(cli: Cli) -> None:
    outcome = cli("profiles")
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0].split() == ["MODEL", "COMPUTE", "MEMORY", "UNITS", "PROFILES", "ALSO", "KNOWN", "AS"]
    assert [line.split()[0] for line in lines[1:]] == [model.name for model in GPU_MODELS]


A30 = """\
A30-24GB: 4 compute slices, 4 memory units

PROFILE     RESOURCE                   COMPUTE  UNITS  GIB   SMS  STARTS   MOST
1g.6gb      nvidia.com/mig-1g.6gb            1      1  5.8   14   0,1,2,3     4
1g.6gb+me   nvidia.com/mig-1g.6gb.me         1      1  5.8   14   0,1,2,3     1
2g.12gb     nvidia.com/mig-2g.12gb           2      2  11.7  28   0,2         2
2g.12gb+me  nvidia.com/mig-2g.12gb.me        2      2  11.7  28   0,2         1
4g.24gb     nvidia.com/mig-4g.24gb           4      4  23.4  56   0           1
"""


@pytest.mark.parametrize("name", ["A30-24GB", "a30-24gb", "NVIDIA A30"])
def test_shows_a_model_by_either_of_its_names(cli: Cli, name: str) -> None:
    assert cli("profiles", name).out == A30


def test_says_that_a_figure_is_not_public(cli: Cli) -> None:
    row = next(line for line in cli("profiles", "B300-269GB").out.splitlines() if line.startswith("3g.135gb"))
    assert row.split() == ["3g.135gb", "nvidia.com/mig-3g.135gb", "3", "4", "-", "-", "0,4", "2"]


def test_data_of_one_model_and_of_all(cli: Cli) -> None:
    one = json.loads(cli("profiles", "A100-40GB", "--json").out)
    everything = json.loads(cli("profiles", "--json").out)
    assert one in everything
    assert len(everything) == 14
    assert one["profiles"][1] == {
        "profile": "1g.5gb+me",
        "resource": "nvidia.com/mig-1g.5gb.me",
        "compute": 1,
        "memory_units": 1,
        "memory_mib": 4864,
        "multiprocessors": 14,
        "starts": [0, 1, 2, 3, 4, 5, 6],
        "max_instances": 1,
    }


def test_an_unknown_model_is_bad_input_and_the_known_ones_are_named(cli: Cli) -> None:
    outcome = cli("profiles", "A100")
    assert outcome.code == 2
    assert outcome.err.startswith("knative-mig profiles: MODEL: 'A100' is not a known GPU model: known are A30-24GB, ")
