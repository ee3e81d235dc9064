"""Runs in MLflow, in a store on disk."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from edgesparse.errors import UsageError
from edgesparse.report.comparing import compare_runs
from edgesparse.report.tracking import log_run
from tests.report.pairs import make_pair, slower

CELL = "block-4x1-80/xnnpack/1"


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files alone: what MLflow's skinny package can do without a server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return (tmp_path / "mlruns").as_uri()


def test_a_run_s_numbers_settings_and_documents(tmp_path: Path, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    base, new = make_pair(tmp_path, slower({CELL: 1.2}))
    compared, comparison = compare_runs(base, new), new.comparison()
    page = tmp_path / "page.html"
    page.write_text("<html></html>")
    client = MlflowClient(tracking_uri=uri)
    logged = client.get_run(log_run(comparison, uri, compared=compared, files=[page]))
    assert logged.info.status == "FINISHED"
    assert client.get_experiment(logged.info.experiment_id).name == "edgesparse/digits"
    params = logged.data.params
    assert {key: params[key] for key in ("run", "base", "board", "board_type", "runtime", "governor")} == {
        "run": new.id, "base": base.id, "board": "kitchen-pi", "board_type": "raspberrypi5",
        "runtime": "ai-edge-litert 2.3.0", "governor": "performance",
    }  # fmt: skip
    row = next(each for each in comparison.variants if each.name == "block-4x1-80").backends[1]
    metrics = logged.data.metrics
    assert metrics[f"{CELL}/median_ms"] == pytest.approx(row.median_ms)
    assert metrics[f"{CELL}/new_over_base"] == pytest.approx(1.2, rel=0.02)
    assert metrics["block-4x1-80/accuracy"] == 0.9841
    assert logged.data.tags["edgesparse.verdict"].startswith("Slower")
    artifacts = {each.path for each in client.list_artifacts(logged.info.run_id)}
    assert artifacts == {"comparison.json", "compared.json", "compared.md", "page.html"}
    document = json.loads(Path(client.download_artifacts(logged.info.run_id, "comparison.json")).read_text())
    assert document["run"] == new.id


def test_two_runs_of_a_bundle_are_one_experiment(tmp_path: Path, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    logged = [client.get_run(log_run(run.comparison(), uri)) for run in make_pair(tmp_path)]
    assert len({each.info.experiment_id for each in logged}) == 1


def test_an_emulated_board_logs_no_time(tmp_path: Path, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    run = make_pair(tmp_path, make_emulated=True)[1]
    logged = MlflowClient(tracking_uri=uri).get_run(log_run(run.comparison(), uri))
    assert not any("_ms" in key or "x_dense" in key for key in logged.data.metrics)
    assert logged.data.tags["edgesparse.emulated"] == "true"


def test_without_a_store_or_without_mlflow_it_says_what_to_do(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = make_pair(tmp_path)[1].comparison()
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI"):
        log_run(comparison)
    imported = builtins.__import__

    def missing(name: str, *more: Any) -> Any:
        if name.startswith("mlflow"):
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="not installed") as caught:
        log_run(comparison, uri)
    assert "pip install 'edgesparse[mlflow]'" in caught.value.hint
