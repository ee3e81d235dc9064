"""The command `prepare`: a Keras model in the shape that XNNPACK's sparse inference takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson


def prepare(
    model: Annotated[str, typer.Argument(help="A Keras 2 model: a file or directory, or module:function.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the rewritten model.")],
    as_json: AsJson = False,
) -> None:
    """Rewrite a Keras model so that XNNPACK runs it sparse on ARM, and say which changes keep its function."""
    from edgesparse import console, prepare
    from edgesparse.report.tables import preparation_table

    console.say("loading TensorFlow")
    prepared = prepare(model, out, progress=console.say)
    if as_json:
        console.print_json({"out": str(out), "preparation": prepared.preparation})
    else:
        console.data.print(preparation_table(prepared.model.name, prepared.preparation))
