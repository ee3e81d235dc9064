"""Stores elsewhere: a directory, and whatever fsspec opens. A run is whole there or not there, and here until it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from edgesparse import store
from edgesparse.errors import UsageError
from edgesparse.report.summary import summarise
from edgesparse.store import Place, RunRecord, entries, list_runs, put_away, runs_dir, try_to_put_away
from edgesparse.store import place as places
from edgesparse.store.asking import ask
from edgesparse.store.moving import remove_run
from tests.report.runs import fill, make_run
from tests.sshd import Sshd, make_sshd, sshd

__all__ = ["make_sshd", "sshd"]


class KeptFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Memory, under a name that is no byword for what ends with the process."""

    protocol = "kept"


class TornFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """One that breaks off after so many files."""

    protocol = "torn"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    left: ClassVar[float] = float("inf")
    half: ClassVar[bool] = False

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        self._count()
        super().put_file(lpath, rpath, *args, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self._count()
        super().mv(path1, path2, **options)

    def cat_file(self, path: str, *args: Any, **options: Any) -> bytes:
        content: bytes = super().cat_file(path, *args, **options)
        return content[: len(content) // 2] if self.half else content

    def _count(self) -> None:
        if TornFileSystem.left <= 0:
            raise ConnectionResetError("the other side has gone")
        TornFileSystem.left -= 1


fsspec.register_implementation("kept", KeptFileSystem, clobber=True)
fsspec.register_implementation("torn", TornFileSystem, clobber=True)


@pytest.fixture(params=["directory", "file://", "kept://runs", "torn://bucket/runs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    url = {"directory": str(tmp_path / "far away"), "file://": f"file://{tmp_path / 'far'}"}.get(
        request.param, request.param
    )
    monkeypatch.setenv(places.VARIABLE, url)
    TornFileSystem.left, TornFileSystem.half = float("inf"), False
    yield url
    for system in (MemoryFileSystem, TornFileSystem):
        system.store.clear()
        system.pseudo_dirs[:] = [""]


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    record = fill(make_run(tmp_path), rounds=2, samples=8)
    (record.path / "masks.json").write_text('{"masks": []}')
    (record.path / "layers").mkdir()
    (record.path / "layers" / "one.txt").write_text("1")
    return record


def test_a_run_moves_there_whole(place: str, run: RunRecord) -> None:
    records, comparison, here = run.records(), summarise(run), run.path
    assert put_away(run) and not put_away(run)
    assert not here.exists() and list(runs_dir().iterdir()) == []
    assert list_runs() == [run.id]
    for same in (run, RunRecord.load(run.id), RunRecord.last()):
        assert same.records() == records and summarise(same) == comparison
        assert (same.path / "masks.json").read_text() == '{"masks": []}'
        assert (same.path / "layers" / "one.txt").read_text() == "1"
    (entry,) = entries()
    assert (entry.run, entry.where, entry.form, entry.status) == (run.id, "store", "packed", "finished")


def test_another_machine_has_it_too(
    place: str, run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = run.records()
    put_away(run)
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "another machine"))
    assert [entry.run for entry in entries()] == [entry.run for entry in entries()] == list_runs() == [run.id]
    assert RunRecord.load(run.id).records() == RunRecord.load(run.id).records() == records
    with pytest.raises(UsageError, match="There is no run 'other'") as caught:
        RunRecord.load("other")
    assert run.id in caught.value.hint


def test_a_run_that_goes_on_is_here(place: str, tmp_path: Path, run: RunRecord) -> None:
    (tmp_path / "other").mkdir()
    other = make_run(tmp_path / "other")
    other.append(run.records()[:3])
    try_to_put_away(other, pytest.fail)
    assert other.path == runs_dir() / other.id and RunRecord.load(other.id).records() == run.records()[:3]
    assert list_runs() == sorted([run.id, other.id])


def test_who_still_collects_a_run_that_was_moved_away(place: str, run: RunRecord) -> None:
    behind, records = RunRecord.load(run.id), run.records()
    put_away(run)
    behind.append(records)
    assert behind.finished and behind.records() == records and list(runs_dir().iterdir()) == []


@pytest.mark.parametrize("place", ["torn://bucket/runs"], indirect=True)
def test_a_torn_upload_is_not_there_and_can_be_repeated(place: str, run: RunRecord) -> None:
    records = run.records()
    for files in range(12):
        TornFileSystem.left = files
        told: list[str] = []
        try_to_put_away(run, told.append)
        if not told:
            break
        assert "ConnectionResetError" in told[0] and "edgesparse runs pack" in told[0]
        assert places.Place(place).ids() == []
        again = RunRecord.load(run.id)
        assert again.path == runs_dir() / run.id and again.packed and again.records() == records
        assert [(entry.run, entry.where) for entry in entries()] == [(run.id, "here")]
    assert files == 9, "eight files, then run.json gets its name"
    assert list_runs() == [run.id] and not (runs_dir() / run.id).exists()
    assert RunRecord.load(run.id).records() == records


@pytest.mark.parametrize("place", ["torn://bucket/runs"], indirect=True)
def test_what_does_not_read_as_it_was_written_is_kept_here(place: str, run: RunRecord) -> None:
    records, TornFileSystem.half = run.records(), True
    with pytest.raises(UsageError, match="does not give back run"):
        put_away(run)
    assert RunRecord.load(run.id).records() == records and (runs_dir() / run.id).is_dir()


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_kill_between_there_and_here(place: str, run: RunRecord, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is there, and here not all is gone yet."""
    records, here = run.records(), run.path

    class Killed(BaseException):
        pass

    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == here:
            if step == "after":
                real(self, target)
            raise Killed
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            put_away(run)
    assert list_runs() == [run.id] and len(entries()) == 1
    again = RunRecord.load(run.id)
    assert again.records() == records
    put_away(again)
    assert not here.exists() and RunRecord.load(run.id).records() == records


def test_a_run_can_be_put_there_anew(place: str, run: RunRecord, tmp_path: Path) -> None:
    """One that was fetched, changed and imported again: what is there is replaced, and nobody reads the old one."""
    put_away(run)
    there = RunRecord.load(run.id)
    other = tmp_path / run.id
    shutil.copytree(there.path, other)
    about = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**about, "owner": "somebody else"}))
    (other / "masks.json").write_text("new")
    places.Place(os.environ[places.VARIABLE]).take(other)
    loaded = RunRecord.load(run.id)
    assert (loaded.about["owner"], (loaded.path / "masks.json").read_text()) == ("somebody else", "new")
    assert entries()[0].about["owner"] == "somebody else"


def test_removing_it_there(place: str, run: RunRecord) -> None:
    put_away(run)
    found = places.Place.chosen()
    assert found is not None and found.has(run.id)
    found.remove(run.id)
    assert not found.has(run.id) and list_runs() == [] == entries()


def test_what_is_fetched_stays_in_its_directory(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, "torn://hostile")
    put_away(run)
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "another machine"))
    real = TornFileSystem.find
    monkeypatch.setattr(
        TornFileSystem, "find", lambda self, path, **options: [*real(self, path, **options), f"{path}/../../../evil"]
    )
    with pytest.raises(UsageError, match="which is no file of run"):
        RunRecord.load(run.id)
    assert not list(tmp_path.rglob("evil"))
    TornFileSystem.store.clear()


def test_what_was_fetched_does_not_grow_forever(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, "kept://few")
    monkeypatch.setattr(places, "CACHE_BYTES", 1)
    runs = [run]
    for name in ("second", "third"):
        (tmp_path / name).mkdir()
        runs.append(fill(make_run(tmp_path / name), rounds=1, samples=5))
    counts = {each.id: len(each.records()) for each in runs}
    for each in runs:
        put_away(each)

    def kept() -> list[str]:
        return sorted(path.parent.name for path in (store.runs_dir().parent / "fetched").glob("*/*/run.json"))

    assert kept() == sorted(counts), "as long as this process may read them"
    shutil.rmtree(store.runs_dir().parent / "fetched")
    for each in runs:
        places._AT_HAND.clear()  # as in a process of its own
        assert len(RunRecord.load(each.id).records()) == counts[each.id]
        assert kept() == [each.id]
    places._AT_HAND.clear()
    found = Place(os.environ[places.VARIABLE])
    with found.reading():
        for each in runs:
            assert len(RunRecord.load(each.id).records()) == counts[each.id]
        places._AT_HAND.clear()
        found.prune()  # as another process may
        assert kept() == sorted(counts), "no file goes that a question may have open"
    assert kept() == []
    answer = ask("SELECT run, count(*) FROM samples GROUP BY run")
    assert {run for run, _ in answer.rows} == set(counts) and kept() == []
    assert run.records() and kept() == [run.id], "fetched again for who still holds it"
    KeptFileSystem.store.clear()


def test_run_jsons_that_are_kept_are_whole_and_of_runs_that_are_there(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, "kept://abouts")
    put_away(run)
    (entry,) = entries()
    (kept,) = (store.runs_dir().parent / "fetched").glob("*/abouts/*.json")
    kept.write_bytes(kept.read_bytes()[:40])  # as an earlier version left it on a full disk
    assert entries() == [entry] and json.loads(kept.read_bytes())["id"] == run.id

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    kept.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(places, "write_whole", full)
        assert entries() == [entry] and not kept.exists()
    assert entries() == [entry] and kept.exists()
    remove_run(entry)
    assert entries() == [] and not kept.exists()
    KeptFileSystem.store.clear()


@pytest.mark.parametrize("name", ["[x]", "a*b", "what?", "[!a]"])
def test_a_directory_of_any_name_lists_its_runs(
    run: RunRecord, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, str(tmp_path / name))
    records = run.records()
    put_away(run)
    assert list_runs() == [run.id] and [entry.where for entry in entries()] == ["store"]
    assert RunRecord.load(run.id).records() == records
    assert ask("SELECT DISTINCT run FROM samples").rows == ask("SELECT DISTINCT run FROM cells").rows == [(run.id,)]
    remove_run(entries()[0])
    assert list_runs() == [] and list((tmp_path / name).iterdir()) == []


def test_only_the_run_jsons_of_runs_are_runs(place: str, run: RunRecord) -> None:
    put_away(run)
    found = places.Place(place)
    for path in ("run.json", f"{run.id}/layers/run.json", ".hidden/run.json", "other/run.json.bak"):
        found._fs.makedirs(found._at(path).rsplit("/", 1)[0], exist_ok=True)
        found._fs.pipe_file(found._at(path), b"{}")
    assert list_runs() == [run.id] and len(entries()) == 1


@pytest.mark.parametrize("url", ["memory://runs", "simplecache::memory://runs"])
def test_what_ends_with_this_process_is_no_store(run: RunRecord, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, url)
    with pytest.raises(UsageError, match="Expected a place that outlives this process"):
        put_away(run)
    assert run.path == runs_dir() / run.id and run.records()


def test_a_url_that_is_a_pattern_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "kept://bucket/runs[1]")
    with pytest.raises(UsageError, match="Expected a URL without"):
        list_runs()


class BucketFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """One with buckets, as s3fs and gcsfs have them: what is in one that there is not is an empty list."""

    protocol = "buckets"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("buckets://")))

    def split_path(self, path: str) -> tuple[str, str]:
        bucket, _, key = path.strip("/").partition("/")
        return bucket, key


fsspec.register_implementation("buckets", BucketFileSystem, clobber=True)


def test_a_bucket_that_does_not_exist_is_no_store_without_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "buckets://mine/runs")
    with pytest.raises(UsageError, match="FileNotFoundError: there is no bucket mine"):
        list_runs()
    BucketFileSystem().mkdir("/mine")
    assert list_runs() == [] == entries(), "nothing was put there yet"
    for path in ("run/run.json", "run/layers/run.json"):
        BucketFileSystem().pipe_file(f"/mine/runs/{path}", b"{}")
    assert list_runs() == ["run"]


def test_what_is_not_installed_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "s3://bucket/runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(UsageError, match="Expected what opens s3://") as caught:
            list_runs()
    assert caught.value.hint == "Install it: pip install s3fs"


def test_a_store_that_cannot_be_opened_leaves_the_run_packed_here(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, "s33://bucket/runs")
    told: list[str] = []
    try_to_put_away(run, told.append)
    assert "s33://" in told[0] and run.packed and run.path == runs_dir() / run.id
    assert RunRecord.load(run.id).records() == run.records()


def test_over_ssh_with_host_keys_checked(
    run: RunRecord, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, known = run.records(), sshd.known_hosts.read_text()
    monkeypatch.setenv(places.VARIABLE, f"sftp://{sshd.host}{tmp_path}/over-ssh")
    sshd.known_hosts.write_text("")
    with pytest.raises(UsageError, match="not found in known_hosts"):
        put_away(run)
    sshd.known_hosts.write_text(known)
    put_away(run)
    assert not (runs_dir() / run.id).exists() and (tmp_path / "over-ssh" / run.id / "run.json").exists()
    assert list_runs() == [run.id] and RunRecord.load(run.id).records() == records
    found = places.Place.chosen()
    assert found is not None
    found.remove(run.id)
    assert list_runs() == []


def test_a_protocol_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "s33://bucket/runs")
    with pytest.raises(UsageError, match="found s33://"):
        list_runs()


def test_a_password_is_not_shown() -> None:
    assert places.Place("torn://me:secret@host/runs").url == "torn://me:***@host/runs"


def test_the_usual_place_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.Place.chosen() is None
    monkeypatch.setenv(places.VARIABLE, str(runs_dir()))
    assert places.Place.chosen() is None
