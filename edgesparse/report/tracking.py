"""Runs into MLflow: what was asked as parameters, a metric for every number of a cell, the documents as artifacts.

An extra: `pip install edgesparse[mlflow]`. Imported by nothing but `edgesparse report --mlflow`, because it is heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesparse import __version__
from edgesparse.errors import EdgesparseError, UsageError
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import NO_LIMIT, Verdict
from edgesparse.report.comparing.words import headline
from edgesparse.report.export import to_json
from edgesparse.report.summary import Comparison, Row, VariantSummary

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

INSTALL = "pip install 'edgesparse[mlflow]'"
URI = "MLFLOW_TRACKING_URI"

_REFUSED = (
    "Is it there, and may you write to it? A database of its own, such as sqlite:, needs all of it: pip install mlflow"
)
# A server that is away is tried again; by itself MLflow does so for minutes.
_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}

# What MLflow takes in the name of a metric.
_NO_NAME = re.compile(r"[^\w\-. /]")


def log_run(
    comparison: Comparison,
    uri: str | None = None,
    *,
    compared: RunsCompared | None = None,
    verdict: Verdict = NO_LIMIT,
    files: Sequence[Path] = (),
) -> str:
    """Make an MLflow run of a run, in the experiment `edgesparse/<bundle>`.

    Args:
        comparison: of the run.
        uri: the tracking server or store; MLFLOW_TRACKING_URI where None.
        compared: the run held against an earlier one, for the changes as metrics.
        verdict: what the gate says of it.
        files: further artifacts, such as the HTML report.

    Returns:
        The id that MLflow gave it.

    Raises:
        UsageError: MLflow is not installed, or there is no URI. EdgesparseError: its store refuses.
    """
    uri = uri or os.environ.get(URI)
    if not uri:
        raise UsageError(
            f"Expected an MLflow store, found neither --mlflow-uri nor {URI}.",
            hint="Such as --mlflow-uri http://localhost:5000",
        )
    for name, value in _RETRIES.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise UsageError("Expected MLflow, which is not installed.", hint=f"Install it: {INSTALL}") from None
    try:
        return _log(MlflowClient(tracking_uri=uri), comparison, compared, verdict, files)
    except MlflowException as error:
        first = str(error).strip().splitlines()[0]
        raise EdgesparseError(f"MLflow at {uri} refused: {first}", hint=_REFUSED) from None
    except ImportError as error:  # a store that needs more than the skinny package brings
        missing = f"MLflow at {uri} needs a package that is not installed: {error}."
        raise UsageError(missing, hint="pip install mlflow") from None


def _log(
    client: MlflowClient, comparison: Comparison, compared: RunsCompared | None, verdict: Verdict, files: Sequence[Path]
) -> str:  # fmt: skip
    name = f"edgesparse/{comparison.bundle['name']}"
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    tags = _tags(comparison, compared, verdict)
    run = str(client.create_run(experiment, run_name=comparison.run, tags=tags).info.run_id)
    try:
        for key, value in _params(comparison, compared).items():
            client.log_param(run, key, value)
        for key, number in _metrics(comparison, compared):
            client.log_metric(run, _NO_NAME.sub("_", key), number)
        client.log_dict(run, to_json(comparison), "comparison.json")
        if compared:
            from edgesparse.report.comparing import to_json as compared_to_json
            from edgesparse.report.comparing import to_markdown

            client.log_dict(run, compared_to_json(compared, verdict), "compared.json")
            client.log_text(run, to_markdown(compared, verdict), "compared.md")
        for file in files:
            client.log_artifact(run, str(file))
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED" if comparison.status == "finished" else "FAILED")
    return run


def _tags(comparison: Comparison, compared: RunsCompared | None, verdict: Verdict) -> dict[str, str]:
    found = {
        "edgesparse.version": __version__,
        "edgesparse.run": comparison.run,
        "edgesparse.emulated": str(bool(comparison.board.get("emulated"))).lower(),
    }
    if compared:
        found |= {"edgesparse.base": compared.base.run, "edgesparse.verdict": headline(compared, verdict)}
    return found


def _params(comparison: Comparison, compared: RunsCompared | None) -> dict[str, Any]:
    board, rows = comparison.board, [row for variant in comparison.variants for row in variant.backends]
    runtimes = dict.fromkeys(f"{row.runtime['name']} {row.runtime['version']}" for row in rows if row.runtime)
    found = {
        "run": comparison.run,
        "board": board["name"],
        "board_type": board["type"],
        "cpu": board.get("cpu"),
        "kernel": board.get("kernel"),
        "bundle": str(comparison.bundle["id"])[:16],
        "runtime": ", ".join(runtimes),
        "agent": comparison.agent.get("version"),
        "governor": comparison.conditions.get("before", {}).get("governor"),
        "threads": ", ".join(dict.fromkeys(str(row.threads) for row in rows)),
        "measured": comparison.measured,
        "base": compared.base.run if compared else None,
    }
    return {key: value for key, value in found.items() if value not in (None, "")}


def _metrics(comparison: Comparison, compared: RunsCompared | None) -> Iterator[tuple[str, float]]:
    for variant in comparison.variants:
        for key, value in _of_variant(variant):
            yield f"{variant.name}/{key}", value
        for row in variant.backends:
            for key, value in _of_row(row):
                yield f"{variant.name}/{row.backend}/{row.threads}/{key}", value
    for cell in compared.cells if compared else ():
        if cell.change and cell.change.value is not None:
            yield f"{cell.cell}/new_over_base", cell.change.value
            for side, bound in zip(("low", "high"), cell.change.interval or (), strict=False):
                yield f"{cell.cell}/new_over_base_{side}", bound


def _of_variant(variant: VariantSummary) -> Iterator[tuple[str, float]]:
    yield "bytes", variant.bytes
    yield "density", variant.density
    if variant.accuracy is not None:
        yield "accuracy", variant.accuracy


def _of_row(row: Row) -> Iterator[tuple[str, float]]:
    """What is known of it; an emulated board's rows have no time."""
    ratio, counted = row.ratio_to_dense, row.instructions
    known = {
        "median_ms": row.median_ms,
        "median_ms_low": row.interval_ms[0] if row.interval_ms else None,
        "median_ms_high": row.interval_ms[1] if row.interval_ms else None,
        "p90_ms": row.p90_ms,
        "p99_ms": row.p99_ms,
        "x_dense": ratio.value if ratio else None,
        "energy_mj": None if row.energy.simulated else row.energy.mj,
        "instructions": counted.per_inference if counted else None,
        "failed": float(row.kind is not None),
        "parity_ok": None if row.parity is None else float(row.parity["ok"]),
    }
    yield from ((key, value) for key, value in known.items() if value is not None)
