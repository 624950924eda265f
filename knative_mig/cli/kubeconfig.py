"""`knative-mig kubeconfig`: where the running `dev` has its client file, for kn, kubectl and whatever else.

`KUBECONFIG=$(knative-mig kubeconfig) kn service list` is what it is for, so a path is all that it prints.
"""

import os
from pathlib import Path

import click

from knative_mig.core.errors import BadInput
from knative_mig.dev import whereabouts


@click.command(name="kubeconfig")
@click.option("-o", "--output", default=None, help="Write it there (- to print it) instead of its path.")
def command(*, output: str | None) -> None:
    """Print the path of the running dev's kubeconfig: export KUBECONFIG=$(knative-mig kubeconfig)."""
    path = whereabouts.kubeconfig_of_running()
    if path is None:
        raise BadInput("no knative-mig dev is running: start one with `knative-mig dev`")
    if output is None:
        click.echo(path)
    elif output == "-":
        click.echo(path.read_text(), nl=False)
    elif not Path(output).name:
        raise BadInput(f"--output {output!r} names no file")
    else:
        try:
            _write(Path(output), path.read_text())
        except OSError as error:
            raise BadInput(f"{output}: cannot be written: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: it may be the file of a shell that is working. A link stays one, a device or a pipe too."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_text(text)
        return
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
