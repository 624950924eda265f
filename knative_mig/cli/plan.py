"""`knative-mig plan FILE`: which slices the planner would make for the functions that wait, and why.

The same planner that runs on a cluster, on an inventory written by hand: to try a layout, to replay a case, to learn
what a policy does. Nothing is changed anywhere.
"""

import json

import click

from knative_mig.cli.plan_data import data_of
from knative_mig.cli.plan_file import plan_input_of
from knative_mig.cli.plan_text import text_of
from knative_mig.cli.terminal import in_colour
from knative_mig.cli.yaml_input import read
from knative_mig.core.planner.batch import plan


@click.command(name="plan")
@click.argument("file")
@click.option("--explain", is_flag=True, help="Print the reasons of every step and of the plan as a whole.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as data.")
def command(file: str, *, explain: bool, as_json: bool) -> int:
    """Plan slices for the pending functions in FILE (- for the standard input), which docs/plan-file.md describes.

    Each GPU that the plan touches is drawn before and after. Exit code 1 if any slice is not granted.
    """
    given = plan_input_of(read(file))
    made = plan(given.inventory, given.pendings, given.policy, now=0.0, startup=given.startup)
    if as_json:
        click.echo(json.dumps(data_of(made), indent=2))
    else:
        click.echo(text_of(given.inventory, made, explain=explain, colour=in_colour()))
    return 1 if made.rejections else 0
