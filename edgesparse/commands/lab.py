"""The command `lab`: the course's hands-on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, BoardName, Host, NewHostKey, reach


def lab(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for models, bundle and page.")] = Path(
        "build/lab"
    ),
    board: BoardName = "local",
    host: Host = None,
    sparsity: Annotated[
        float, typer.Option("--sparsity", "-s", help="Share of zeros in every pruned layer: 0.25, 0.5 or 0.75.")
    ] = 0.5,
    epochs: Annotated[int, typer.Option("--epochs", help="Of fine-tuning, the same for every pattern.", min=1)] = 1,
    rounds: Annotated[int, typer.Option("--rounds", help="The most launches of every cell.", min=1)] = 8,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", help="Seconds after which measuring stops; what is left of 4.5 minutes.", min=1),
    ] = None,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Six patterns of zeros on one small CNN: bytes, regularity, accuracy, latency, and a page about it."""
    from edgesparse import console, lab
    from edgesparse.bench import describe
    from edgesparse.boards.inventory import resolve
    from edgesparse.lab import PAGE_FILE, ROUNDS
    from edgesparse.live import RunView
    from edgesparse.quantity import quantity_of
    from edgesparse.report.lab import render

    where = resolve(board, host=host)
    with RunView(f"measuring on {where.name}") as view:
        view.quantity, view.most_rounds = quantity_of(describe(where)), rounds
        found = lab(
            out, where, sparsity=sparsity, epochs=epochs, rounds=(min(rounds, ROUNDS[0]), rounds),
            time_limit_s=time_limit, progress=console.say, on_epoch=console.say_epoch, on_message=view,
            reach=reach(accept_new_host_key),
        )  # fmt: skip
    page = out / "page" / PAGE_FILE
    if as_json:
        import msgspec

        console.print_json({"page": str(page), **msgspec.to_builtins(found)})
    else:
        console.data.print(render(found, page))
