"""`edgesparse kernels`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, make_group

app = make_group("The sparse kernels, a TFLite delegate: where they lie.")


@app.command("path")
def kernels_path(
    arch: Annotated[
        str | None, typer.Option("--arch", help="x86_64, aarch64 or armv7l; this machine's where not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print where the compiled delegate lies, for load_delegate()."""
    from edgesparse.kernels import library_path, this_arch

    path = library_path(arch)
    if as_json:
        from edgesparse import console

        console.print_json({"arch": arch or this_arch(), "path": str(path), "bytes": path.stat().st_size})
    else:
        print(path)
