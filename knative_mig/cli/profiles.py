"""`knative-mig profiles [MODEL]`: the GPU models whose geometry is known, or one model's profiles.

The facts are those of `core.mig_tables`; what a live driver says of the GPU in front of you may differ in MiB and SMs.
"""

import json

import click

from knative_mig.cli.arguments import as_model
from knative_mig.cli.table import table
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import GPU_MODELS

UNKNOWN = "-"  # no public reading of it


@click.command(name="profiles")
@click.argument("model", required=False, callback=as_model)
@click.option("--json", "as_json", is_flag=True, help="Print data instead of a table.")
def command(model: GpuModel | None, *, as_json: bool) -> None:
    """Show what each GPU model can be cut into, or the profiles of MODEL.

    MODEL is a short name (A100-40GB) or the product's (NVIDIA A100-SXM4-40GB).
    """
    if as_json:
        click.echo(json.dumps(_model_data(model) if model else [_model_data(each) for each in GPU_MODELS], indent=2))
    else:
        click.echo(_profiles_table(model) if model else _models_table())


def _models_table() -> str:
    rows = [
        (each.name, each.compute_slices, each.memory_units, len(each.profiles), ", ".join(each.aliases) or UNKNOWN)
        for each in GPU_MODELS
    ]
    return table(("MODEL", "COMPUTE", "MEMORY UNITS", "PROFILES", "ALSO KNOWN AS"), rows)


def _profiles_table(model: GpuModel) -> str:
    rows = [
        (
            str(each.name),
            each.name.resource,
            each.compute,
            each.memory_units,
            _gib(each),
            str(each.multiprocessors or UNKNOWN),
            _starts(each),
            each.max_instances,
        )
        for each in model.profiles
    ]
    header = ("PROFILE", "RESOURCE", "COMPUTE", "UNITS", "GIB", "SMS", "STARTS", "MOST")
    return f"{model}: {model.compute_slices} compute slices, {model.memory_units} memory units\n\n{table(header, rows)}"


def _gib(profile: Profile) -> str:
    return UNKNOWN if profile.memory_mib is None else f"{profile.memory_mib / 1024:.1f}"


def _starts(profile: Profile) -> str:
    return ",".join(str(start) for start in profile.starts)


def _model_data(model: GpuModel) -> dict[str, object]:
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "pci_device_ids": list(model.pci_device_ids),
        "compute_slices": model.compute_slices,
        "memory_units": model.memory_units,
        "profiles": [
            {
                "profile": str(each.name),
                "resource": each.name.resource,
                "compute": each.compute,
                "memory_units": each.memory_units,
                "memory_mib": each.memory_mib,
                "multiprocessors": each.multiprocessors,
                "starts": list(each.starts),
                "max_instances": each.max_instances,
            }
            for each in model.profiles
        ],
    }
