"""`edgesparse runs`: every run that there is, listed, asked, taken elsewhere, removed."""

from __future__ import annotations

import csv
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesparse.commands.options import AsJson, Yes, make_group, require_yes
from edgesparse.errors import EdgesparseError, UsageError

if TYPE_CHECKING:
    from edgesparse.store.catalogue import Entry
    from edgesparse.store.record import RunRecord

RunName = Annotated[str, typer.Argument(help="A run's id or directory; last for the latest.")]
_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

app = make_group("Runs that were measured: list them, ask them, take them elsewhere. EDGESPARSE_STORE says where.")


@app.command("list")
def runs_list(
    board: Annotated[str | None, typer.Option("--board", "-b", help="Only of this board, or board type.")] = None,
    bundle: Annotated[str | None, typer.Option("--bundle", help="Only of this bundle: its name, or its id.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only from then on: a date such as 2026-11-22, or 90m, 12h, 7d, 2w ago."),
    ] = None,
    last: Annotated[int | None, typer.Option("--last", help="Only so many of the latest.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, oldest first."""
    from edgesparse import console
    from edgesparse.store import entries

    after = None if since is None else _moment(since)
    found = [entry for entry in entries() if _is_wanted(entry, board, bundle, after)]
    found = found[-last:] if last else found
    if as_json:
        console.print_json({"version": 1, "runs": [entry.to_dict() for entry in found]})
    else:
        from edgesparse.report.runs import runs_table

        console.data.print(runs_table(found))


@app.command("show")
def runs_show(run: RunName = "last", as_json: AsJson = False) -> None:
    """Show what a run is, where it lies, and its comparison."""
    from edgesparse import console
    from edgesparse.report.export import to_json
    from edgesparse.report.runs import facts_table
    from edgesparse.report.terminal import render
    from edgesparse.store.catalogue import entry_of
    from edgesparse.store.place import files_of
    from edgesparse.store.run import Run

    found = Run(_record(run))
    entry = entry_of(found.record)
    files = [(name, (found.path / name).stat().st_size) for name in files_of(found.path)]
    comparison = found.comparison()
    if as_json:
        facts = {**entry.to_dict(), "path": str(found.path), "files": [{"name": n, "bytes": size} for n, size in files]}
        console.print_json({"version": 1, **facts, "comparison": to_json(comparison)})
        return
    console.data.print(facts_table(entry, str(found.path), files))
    console.data.print()
    console.data.print(render(comparison))


@app.command("compare")
def runs_compare(
    base: Annotated[str, typer.Argument(help="The run that the other is held against; last for the latest.")],
    new: Annotated[str, typer.Argument(help="The other; last for the latest.")] = "last",
    as_json: AsJson = False,
) -> None:
    """Hold a run against an earlier one, as `edgesparse report --compare` does, which has more to it."""
    from edgesparse.commands.reporting import compare_two
    from edgesparse.store.run import Run

    pair = Run(_record(base)), Run(_record(new))
    if pair[0].id == pair[1].id:
        raise UsageError(f"Expected two runs, found {pair[0].id} twice.", hint="edgesparse runs compare BASE NEW")
    compare_two(*pair, as_json=as_json)


@app.command("export")
def runs_export(
    run: RunName,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="FILE.parquet or FILE.csv: every sample; FILE.json: the comparison; FILE.zip: the whole run.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Write a run into a file."""
    from edgesparse import console
    from edgesparse.store.exporting import export

    record = _record(run)
    export(record, out)
    size = out.stat().st_size
    console.say(f"{out}: run {record.id}, {size:,} bytes")
    if as_json:
        console.print_json({"version": 1, "run": record.id, "file": str(out), "bytes": size})


@app.command("import")
def runs_import(
    file: Annotated[Path, typer.Argument(help="What `edgesparse runs export RUN --out FILE.zip` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Take in a run from another machine."""
    from edgesparse import console
    from edgesparse.store import try_to_put_away
    from edgesparse.store.moving import read_archive

    record = read_archive(file)
    try_to_put_away(record, console.say)
    console.say(f"{record.id}: edgesparse report {record.id}")
    if as_json:
        console.print_json({"version": 1, "run": record.id, "path": str(record.path)})


@app.command("rm")
def runs_rm(
    runs: Annotated[list[str], typer.Argument(help="Runs' ids.")],
    force: Annotated[bool, typer.Option("--force", help="Also those that have not ended.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove runs, here and in the store."""
    from edgesparse import console
    from edgesparse.store import entries
    from edgesparse.store.moving import remove_run

    known = {entry.run: entry for entry in entries()}
    for run in runs:
        if run not in known:
            raise UsageError(f"There is no run {run!r}.", hint="`edgesparse runs list` lists them.")
        if known[run].status == "unfinished" and not force:
            raise UsageError(
                f"Run {run} has not ended.",
                hint=f"Collect the rest: edgesparse bench --attach {run}; or give it up with --force.",
            )
    named = list(dict.fromkeys(runs))
    require_yes(f"Remove {', '.join(named)} and all samples for good?", yes)
    for run in named:
        remove_run(known[run])
        console.say(f"{run} is removed")
    if as_json:
        console.print_json({"version": 1, "removed": named})


@app.command("pack")
def runs_pack(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs' ids; all that have ended where none is given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring runs that have ended into their last form and into the store: those of older versions, and those where that
    failed when they ended."""
    from edgesparse import console
    from edgesparse.store import RunRecord, entries, put_away

    ended = [
        entry.run for entry in entries() if entry.where == "here" and entry.status not in ("unfinished", "unreadable")
    ]
    packed: list[str] = []
    refused: dict[str, EdgesparseError | OSError] = {}
    for run in runs or ended:
        try:
            if put_away(RunRecord.load(run)):
                packed.append(run)
        except (EdgesparseError, OSError) as error:
            refused[run] = error
    console.say(f"packed {', '.join(packed)}" if packed else "nothing to pack")
    if as_json:
        console.print_json({"version": 1, "packed": packed, "refused": {run: str(why) for run, why in refused.items()}})
    if len(refused) == 1:
        raise next(iter(refused.values()))
    if refused:
        told = "; ".join(f"{run}: {why}" for run, why in refused.items())
        raise UsageError(f"{len(refused)} runs stay as they are. {told}")


@app.command("sql")
def runs_sql(
    question: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT, in DuckDB's dialect.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the answer as CSV.")] = False,
) -> None:
    """Ask all runs in SQL: of runs, samples, sensors, conditions and cells (`DESCRIBE cells` lists the columns)."""
    from edgesparse import console
    from edgesparse.store.asking import ask

    if as_json and as_csv:
        raise UsageError("Expected one of --json and --csv, found both.", hint="Leave one of them out.")
    answer = ask(question)
    for run, why in answer.left_out.items():
        console.say(f"warning: run {run} is left out: {why}")
    if as_json:
        console.print_json(
            {"version": 1, "columns": answer.columns, "rows": answer.to_dicts(), "left_out": answer.left_out}
        )
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    else:
        from edgesparse.report.runs import answer_table

        console.data.print(answer_table(answer))


def _record(run: str) -> RunRecord:
    from edgesparse.store import RunRecord

    return RunRecord.last() if run == "last" else RunRecord.load(run)


def _is_wanted(entry: Entry, board: str | None, bundle: str | None, after: datetime | None) -> bool:
    if board is not None and board not in (entry.board.get("name"), entry.board.get("type")):
        return False
    if (
        bundle is not None
        and entry.bundle.get("name") != bundle
        and not (len(bundle) >= 6 and str(entry.bundle.get("id")).startswith(bundle))
    ):
        return False
    return after is None or (bool(entry.created) and datetime.fromisoformat(entry.created[:-1] + "+00:00") >= after)


def _moment(text: str) -> datetime:
    """A date in UTC, or so long ago."""
    if match := re.fullmatch(r"(\d+)\s*([mhdw])", text.strip()):
        try:
            return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
        except (OverflowError, ValueError):  # before the year 1, and a number with more digits than Python takes
            return datetime.min.replace(tzinfo=timezone.utc)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"Expected a date or how long ago, found {text!r}.", hint="Such as 2026-11-22, 2026-11-22T18:00, 12h or 7d."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
