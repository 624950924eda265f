"""`knative-mig layouts check FILE`: whether the GPUs that a mig-parted file is for can hold its layouts.

Prints each layout with a witness placement as a slot map, or why there is none; exit 1 if any is not legal.
"""

import json

import click

from knative_mig.cli.arguments import as_model
from knative_mig.cli.layout_verdicts import Verdict, Witness, verdicts
from knative_mig.cli.mig_parted import Config, configs_of
from knative_mig.cli.slot_map import Mark, draw
from knative_mig.cli.terminal import in_colour
from knative_mig.cli.yaml_input import read
from knative_mig.cli.yaml_tree import quoted
from knative_mig.core.geometry import GpuModel
from knative_mig.core.mig_tables import GPU_MODELS

ALL_MODELS = len(GPU_MODELS)


@click.group(name="layouts")
def command() -> None:
    """Check files of MIG layouts without a GPU."""


@command.command()
@click.argument("file")
@click.option("--model", callback=as_model, help="The GPU model, where the file does not say: `knative-mig profiles`.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of pictures.")
def check(file: str, model: GpuModel | None, *, as_json: bool) -> int:
    """Check every layout of FILE (- for the standard input), in mig-parted's mig-configs format.

    The model is --model, or what each layout's device filter says; with neither, a layout is legal if it is on any
    model. Profile names are the current driver's. Exit code 1 if any layout is not legal.
    """
    checked = [(config, verdicts(config, model)) for config in configs_of(read(file))]
    illegal = sum(not _is_legal(each) for _, each in checked)
    if as_json:
        click.echo(json.dumps({"illegal": illegal, "configs": [_data(*each) for each in checked]}, indent=2))
    else:
        for config, of_config in checked:
            click.echo("\n".join(_lines(config, of_config)))
        click.echo(f"\n{len(checked)} configs: {len(checked) - illegal} legal, {illegal} not legal")
    return 1 if illegal else 0


def _is_legal(of_config: tuple[Verdict, ...]) -> bool:
    return all(each.legal for each in of_config)


def _lines(config: Config, of_config: tuple[Verdict, ...]) -> list[str]:
    lines = [f"{'legal    ' if _is_legal(of_config) else 'not legal'}  {_name(config)}"]
    for at, verdict in enumerate(of_config):
        wanted = ", ".join(f"{count} x {name}" for name, count in verdict.entry.counts.items()) or "no slices"
        where = f"[{at}] " if len(of_config) > 1 else ""
        if verdict.entry.devices is not None:
            wanted += f" on GPU {', '.join(map(str, verdict.entry.devices))}"
        lines.append(f"    {where}{wanted}")
        lines += [f"      {line}" for line in _findings(verdict)]
    return lines


def _findings(verdict: Verdict) -> list[str]:
    if len(verdict.witnesses) == ALL_MODELS and not verdict.entry.counts:
        return ["any model"]
    width = max((len(each.model.name) for each in verdict.witnesses), default=0)
    return [
        *(f"{each.model.name.ljust(width)}  {_picture(each)}" for each in verdict.witnesses),
        *(f"not legal on {each.model}: {each.why}" if each.model else each.why for each in verdict.obstacles),
        *(f"note: {note}" for note in verdict.notes),
    ]


def _picture(witness: Witness) -> str:
    return draw(witness.model, dict.fromkeys(witness.places, Mark.IDLE), colour=in_colour())


def _name(config: Config) -> str:
    return config.name if config.name.isascii() and config.name.isprintable() else quoted(config.name)


def _data(config: Config, of_config: tuple[Verdict, ...]) -> dict[str, object]:
    return {
        "config": config.name,
        "legal": _is_legal(of_config),
        "entries": [
            {
                "legal": verdict.legal,
                "applies": verdict.applies,
                "mig_enabled": verdict.entry.mig_enabled,
                "devices": "all" if verdict.entry.devices is None else list(verdict.entry.devices),
                "counts": {str(name): count for name, count in verdict.entry.counts.items()},
                "witnesses": [
                    {
                        "model": witness.model.name,
                        "places": [{"profile": str(p.profile), "start": p.start} for p in witness.places],
                    }
                    for witness in verdict.witnesses
                ],
                "obstacles": [
                    {"model": each.model.name if each.model else None, "why": each.why} for each in verdict.obstacles
                ],
                "notes": list(verdict.notes),
            }
            for verdict in of_config
        ],
    }
