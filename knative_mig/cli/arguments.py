"""Values that several verbs take on the command line, turned into what they mean as click reads them."""

import click

from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel
from knative_mig.core.mig_tables import gpu_model


def as_model(ctx: click.Context, param: click.Parameter, value: str | None) -> GpuModel | None:
    """A click callback."""
    if value is None:
        return None
    try:
        return gpu_model(value)
    except BadInput as bad:
        where = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.upper()
        raise type(bad)(f"{ctx.command_path}: {where}: {bad}") from None
