"""Runs on the host's disk: what was asked, the bundle's manifest, and every record as the board sent it.

`<data>/runs/<id>/` holds run.json, manifest.json, and journal.jsonl while the run goes on. When it has ended it is
packed: samples.parquet, sensors.parquet and conditions.parquet, with all else that was found in found.json. It then
stays there, or moves to where EDGESPARSE_STORE says. Samples are kept raw and whole; summaries are computed from them,
never stored instead.
"""

from __future__ import annotations

from edgesparse.store.catalogue import Entry, entries
from edgesparse.store.noise import NoiseFloor, find_noise_floor, keep_noise_floor
from edgesparse.store.paths import FOUND, JOURNAL, RUN, VERSION, Record, new_run_id, runs_dir
from edgesparse.store.place import Place
from edgesparse.store.putting import put_away, try_to_put_away
from edgesparse.store.record import RunRecord, create_run, list_runs
from edgesparse.store.run import Run

# Between the name of a variant and its number where it is measured again beside itself.
AGAIN = "-again-"

__all__ = [
    "AGAIN",
    "FOUND",
    "JOURNAL",
    "RUN",
    "VERSION",
    "Entry",
    "NoiseFloor",
    "Place",
    "Record",
    "Run",
    "RunRecord",
    "create_run",
    "entries",
    "find_noise_floor",
    "keep_noise_floor",
    "list_runs",
    "new_run_id",
    "put_away",
    "runs_dir",
    "try_to_put_away",
]
