"""`edgesparse report`: runs that were measured, printed, written as a page, held against each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesparse.commands.options import AsJson, print_run
from edgesparse.errors import UsageError
from edgesparse.files import write_whole

if TYPE_CHECKING:
    from edgesparse.report.comparing import RunsCompared, Verdict
    from edgesparse.store import Run


def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs' ids or directories; the last one where none is given.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The last run.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the runs as one page, which works offline and by mail.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Hold the second run against the first, whenever they were measured.")
    ] = False,
    fail_if_slower: Annotated[
        str | None,
        typer.Option(
            "--fail-if-slower",
            metavar="LIMIT",
            help="With --compare: exit code 7 if a cell takes more than LIMIT, such as 5%, more time and its interval "
            "says that it is slower at all; or if it fails or is missing.",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            help="With --compare: write it for a CI server, a test case per cell; without a limit, a cell that is "
            "slower at all is a failure there.",
        ),
    ] = None,
    operators: Annotated[
        bool, typer.Option("--operators", help="Also list every operator under csr: its kernel, or why it has none.")
    ] = False,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Log to MLflow (an extra: pip install 'edgesparse[mlflow]').")
    ] = False,
    mlflow_uri: Annotated[
        str | None, typer.Option("--mlflow-uri", help="Its server or store; MLFLOW_TRACKING_URI where not given.")
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the comparison as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the comparison as Markdown.")] = False,
) -> None:
    """Show the comparison of a run, write a page of several, or hold one run against another."""
    from edgesparse import console

    if runs and last:
        raise UsageError("Expected a run or --last, found both.", hint="Leave one of them out.")
    if as_json + as_csv + as_markdown > 1:
        raise UsageError("Expected one of --json, --csv and --markdown, found several.", hint="Leave all but one out.")
    if (fail_if_slower is not None or junit) and not compare:
        raise UsageError("Expected --compare with --fail-if-slower and --junit.", hint="--compare BASE NEW")
    found = _load(runs or [])
    if compare:
        _check_pair(found, as_csv, operators)
    if html:
        from edgesparse.report.html import write_report

        write_report(found, html)
        console.say(f"{html}: the page of {len(found)} {'run' if len(found) == 1 else 'runs'}")
    if compare:
        compare_two(
            *found, fail_if_slower=fail_if_slower, junit=junit, as_json=as_json, as_markdown=as_markdown,
            mlflow=_tracked(mlflow, mlflow_uri), page=html,
        )  # fmt: skip
        return
    _print(found, as_json, as_csv, as_markdown, operators)
    if mlflow or mlflow_uri:
        from edgesparse.report.tracking import log_run

        for run in found:
            logged = log_run(run.comparison(), mlflow_uri, files=[html] if html else [])
            console.say(f"{run.id}: run {logged} in MLflow")


def compare_two(
    base: Run,
    new: Run,
    *,
    fail_if_slower: str | None = None,
    junit: Path | None = None,
    as_json: bool = False,
    as_markdown: bool = False,
    mlflow: tuple[bool, str | None] = (False, None),
    page: Path | None = None,
) -> None:
    """Hold a run against an earlier one and print what came of it; for every command that does.

    Raises:
        UsageError: they cannot be compared. SlowerThanAllowed: after all is printed and written.
    """
    from edgesparse import console
    from edgesparse.report.comparing import compare_runs, gate, render, to_json, to_junit, to_markdown
    from edgesparse.report.comparing.junit import count_cases

    limit = None if fail_if_slower is None else gate.share(fail_if_slower)
    compared = compare_runs(base, new)
    verdict = gate.judge(compared, limit)
    if as_json:
        console.print_json(to_json(compared, verdict))
    elif as_markdown:
        sys.stdout.write(to_markdown(compared, verdict))
    else:
        console.data.print(render(compared, verdict))
    if junit:
        _write(junit, to_junit(compared, verdict))
        count = count_cases(compared, verdict)
        console.say(f"{junit}: {count} test case{'s' * (count > 1)}")
    if mlflow[0]:
        _log_compared(new, compared, verdict, mlflow[1], page)
    for cell in verdict.not_counted:
        console.say(f"{cell} took more than allowed, and had too few launches to tell: it is not counted")
    gate.require_passed(compared, verdict)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Give another file.") from None


def _log_compared(new: Run, compared: RunsCompared, verdict: Verdict, uri: str | None, page: Path | None) -> None:
    from edgesparse import console
    from edgesparse.report.tracking import log_run

    files = [page] if page else []
    logged = log_run(new.comparison(), uri, compared=compared, verdict=verdict, files=files)
    console.say(f"{new.id}: run {logged} in MLflow")


def _tracked(mlflow: bool, uri: str | None) -> tuple[bool, str | None]:
    return mlflow or uri is not None, uri


def _load(runs: Sequence[str]) -> list[Run]:
    from edgesparse.store import Run, RunRecord

    if not runs:
        return [Run(RunRecord.last())]
    return [Run(RunRecord.last()) if run == "last" else Run.load(run) for run in runs]


def _check_pair(found: Sequence[Run], as_csv: bool, operators: bool) -> None:
    if len(found) != 2:
        count = "one" if len(found) == 1 else str(len(found))
        raise UsageError(
            f"Expected two runs to compare, found {count}.",
            hint="edgesparse report --compare BASE NEW; NEW may be last",
        )
    if found[0].id == found[1].id:
        raise UsageError(f"Expected two runs, found {found[0].id} twice.", hint="edgesparse report --compare BASE NEW")
    if as_csv or operators:
        raise UsageError(
            "Expected none of --csv and --operators with --compare.", hint="--json and --markdown hold all of it."
        )


def _print(found: Sequence[Run], as_json: bool, as_csv: bool, as_markdown: bool, operators: bool) -> None:
    """Each run in the one form that was asked for; as JSON several are one document."""
    from edgesparse import console

    if as_json and len(found) > 1:
        from edgesparse.report.export import to_json

        console.print_json({"version": 1, "runs": [to_json(run.comparison()) for run in found]})
        return
    for run in found:
        print_run(run, as_json, as_csv, as_markdown)
        if operators and not (as_json or as_csv or as_markdown):  # JSON holds them always
            from edgesparse.report.operators import render

            console.data.print(render(run.comparison()))
