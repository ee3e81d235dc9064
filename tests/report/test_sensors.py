"""A board's power sensors on the terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from edgesparse.agent import looking
from edgesparse.report.sensors import render
from tests.report.test_power import SECOND, source


def shown(look: dict[str, Any]) -> str:
    console = Console(width=160, file=io.StringIO(), highlight=False)
    console.print(render("orin", {"error": "", **look}))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def read(found: dict[str, Any], values: dict[str, list[float | None]], errors: Any = ()) -> dict[str, Any]:
    stamps = [number * SECOND // 10 for number in range(len(next(iter(values.values()))))]
    return {**found, "t_ns": stamps, "values": values, "errors": list(errors)}


def test_every_channel_with_what_it_reads_now() -> None:
    rails: list[dict[str, Any]] = [{"name": "VDD_IN"}, {"name": "VDD_SOC", "scope": "rail", "total": False}]
    failed = [[3, "VDD_SOC", "it has gone"]]
    counter = {"name": "package-0", "scope": "soc", "counts": "energy", "wraps_at": 10.0}
    text = shown({"sources": [
        read(source("ina3221", *rails), {"VDD_IN": [5.0, 6.0], "VDD_SOC": [1.0, None]}, failed),
        read(source("rapl", counter, rate_seen=False), {"package-0": [9.5, 9.9, 0.3]}),
        read(source("simulated", {"name": "simulated"}, simulated=True), {"simulated": [2.0]}),
    ]})  # fmt: skip
    lines = {line.split()[1]: line for line in text.splitlines() if len(line.split()) > 3}
    assert "5.500 W" in lines["VDD_IN"] and "20 Hz" in lines["VDD_IN"] and "energy is told of it" in lines["VDD_IN"]
    assert "it has gone" in lines["VDD_SOC"] and "rail" in lines["VDD_SOC"]
    assert "4.000 W" in lines["package-0"] and "(not seen)" in lines["package-0"], "also across a wrap"
    assert "simulated (SIMULATED)" in text


def test_a_meter_that_does_not_start_hides_no_other_sensor() -> None:
    look = {"error": "the meter's command does not start: no such file"}
    found = shown({**look, "sources": [read(source("ina3221", {"name": "VDD_IN"}), {"VDD_IN": [5.0]})]})
    assert "orin: the meter's command does not start" in found and "VDD_IN" in found
    assert "no power sensor" not in shown({**look, "sources": []})
    assert "never guessed" in shown({"sources": []})


def test_the_agent_tells_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(looking, "find_sources", list)
    monkeypatch.setattr(looking, "_LOOK_S", 0.01)
    for command, said in (("/no/such/meter", "does not start: "), ("'unbalanced", "No closing quotation")):
        assert looking.main(command, "wall", watch=False) == 0
        found = json.loads(capsys.readouterr().out)
        assert said in found["error"] and found["sources"] == []
