"""A board's power sensors on the terminal."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgesparse.agent import looking, sampling
from edgesparse.agent.sensors import Source, find_sources
from edgesparse.report.sensors import render
from tests.agent.sensors import trees
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


def test_rails_of_which_nothing_tells_what_feeds_what_are_not_called_energy() -> None:
    rails: list[dict[str, Any]] = [
        {"name": name, "scope": "rail", "total": False, "nameless": True} for name in ("ina226 power1", "ina226 power2")
    ]
    values: dict[str, list[float | None]] = {"ina226 power1": [5.0], "ina226 power2": [2.0]}
    text = shown({"sources": [read(source("hwmon ina226", *rails), values)]})
    assert "no energy is told: nothing tells which of ina226 power1 and ina226 power2 feeds which" in text
    assert "energy is told of it" not in text
    assert "energy is told of it" in shown({"sources": [read(source("hwmon ina226", rails[0]), values)]})


def test_each_channel_is_shown_with_its_own_rate() -> None:
    rails: list[dict[str, Any]] = [{"name": "A", "update_s": 1.0, "rate_seen": True},
                                   {"name": "B", "update_s": 0.005, "rate_seen": False}]  # fmt: skip
    text = shown({"sources": [read(source("hwmon x", *rails), {"A": [5.0], "B": [2.0]})]})
    lines = text.splitlines()
    assert any(" A " in line and " 1 Hz" in line for line in lines)
    assert any(" B " in line and "200 Hz (not seen)" in line for line in lines)


class Stdin:
    """Ends after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def select(self, reads: Any, writes: Any, errors: Any, timeout: float) -> tuple[list[Any], list[Any], list[Any]]:
        self.looks -= 1
        return ([self] if self.looks < 0 else []), [], []

    def readline(self) -> str:
        return ""


def test_while_it_is_watched_what_is_plugged_in_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another kind, then a second one of a kind; and what goes stays listed."""
    stdin = Stdin(3)
    trees.jetson_orin_nano(tmp_path)

    def plug(looks: int) -> None:
        if looks == 1:
            trees.hwmon(tmp_path, 3, "1-0042", name="ina226", power1_input="1000000")
        elif looks == 2:
            trees.hwmon(tmp_path, 4, "1-0043", name="ina226", power1_input="2000000")
        elif looks == 3:
            shutil.rmtree(tmp_path / "sys/devices/1-0043")

    looks = iter(range(10))

    def find() -> list[Source]:
        plug(next(looks))
        return find_sources(tmp_path)

    monkeypatch.setattr(looking, "find_sources", find)
    monkeypatch.setattr(looking, "select", stdin)
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(looking, "_LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(sampling.find_rate, "__defaults__", (0.05, 0.05, sampling.COST_SHARE))
    assert looking.main("", "wall", watch=True) == 0
    found = [json.loads(line)["sources"] for line in capsys.readouterr().out.splitlines()]
    names = [[channel["name"] for source in look for channel in source["channels"]][3:] for look in found]
    assert names == [["ina226 power1"], *[["ina226 power1", "ina226 power1 (1-0043)"]] * 2]


def test_the_agent_tells_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(looking, "find_sources", list)
    monkeypatch.setattr(looking, "_LOOK_S", 0.01)
    for command, said in (("/no/such/meter", "does not start: "), ("'unbalanced", "No closing quotation")):
        assert looking.main(command, "wall", watch=False) == 0
        found = json.loads(capsys.readouterr().out)
        assert said in found["error"] and found["sources"] == []
