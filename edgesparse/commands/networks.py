"""`edgesparse networks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, make_group

app = make_group("Benchmark models with random weights and a seed: list, build.")


@app.command("list")
def networks_list(as_json: AsJson = False) -> None:
    """The networks that can be built, each also of another size (mobilenetv2-96, mlp-512)."""
    from edgesparse.networks import names

    if as_json:
        from edgesparse import console

        console.print_json({"networks": names()})
    else:
        print("\n".join(names()))


@app.command("build")
def networks_build(
    network: Annotated[str, typer.Argument(help="A network and its size: mobilenetv2-224, mlp-4096, …")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .tflite file to write.")],
    pattern: Annotated[
        str, typer.Option("--pattern", help="dense, unstructured, block RxC (outputs x inputs), N:M.")
    ] = "dense",
    sparsity: Annotated[
        float | None, typer.Option("--sparsity", help="Share of zeros of each pruned layer, such as 0.8.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="sparse, or zeros: plain zeros in dense tensors.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="float32, float16 or int8.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same weights.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Build a benchmark model with random weights and zeros of an exact density."""
    from edgesparse import console
    from edgesparse.networks import write

    built = write(network, out, pattern, sparsity, encoding, weights=weights, seed=seed, progress=console.say)
    if as_json:
        console.print_json({"out": str(out), "bytes": out.stat().st_size, "model": str(built)})
    else:
        print(out)
