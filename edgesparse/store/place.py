"""Where runs that have ended are kept: EDGESPARSE_STORE, a directory or any URL that fsspec opens; else they stay where
they were collected.

A run is whole in a store once its run.json is there, which is put there last. What was fetched from another machine is
kept under `<data>/fetched`, up to CACHE_BYTES.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from glob import has_magic
from pathlib import Path
from typing import IO, Any

from edgesparse.errors import UsageError
from edgesparse.files import replacing, sha256_of, sync, write_whole
from edgesparse.store.paths import JOURNAL, PART, RUN, data_dir, runs_dir

VARIABLE = "EDGESPARSE_STORE"
CACHE_BYTES = 1 << 30
# A run that is being removed here; nobody lists it.
_GONE = ".gone-"
# Directories of fetched runs that somebody in this process may still read.
_AT_HAND: set[Path] = set()


class StoreError(UsageError):
    """A store that cannot be reached, or refuses."""


class Place:
    """A store of packed runs.

    Args:
        url: a directory, or a URL that fsspec opens.

    Raises:
        UsageError: what opens such URLs is not installed, or there is none.
    """

    def __init__(self, url: str) -> None:
        self.url = _shown(url)
        self._fs, self._root = _open(url)
        protocols = self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        self._local = Path(self._root) if "file" in protocols else None
        if not self._local and has_magic(self._root):
            raise UsageError(
                f"Expected a URL without *, ? and [ as {VARIABLE}, found {self.url}.",
                hint="fsspec takes them for patterns; give the store another name.",
            )
        self._cache = data_dir() / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:12]

    @classmethod
    def chosen(cls) -> Place | None:
        """The one that EDGESPARSE_STORE names; None where runs stay in `runs_dir`."""
        url = os.environ.get(VARIABLE)
        if not url:
            return None
        place = cls(url)
        return None if place._local and place._local.resolve() == runs_dir().resolve() else place

    def ids(self) -> list[str]:
        """The runs that are whole there."""
        return [_run_of(path) for path in self._runs()]

    def abouts(self) -> dict[str, bytes]:
        """Every run's run.json, by its id."""
        found: dict[str, bytes] = {}
        keeping: dict[str, Path] = {}
        missing: list[str] = []
        for path, info in self._runs().items():
            kept = self._cache / "abouts" / f"{_run_of(path)}-{_stamp(info)}.json"
            keeping[_run_of(path)] = kept
            if (content := None if self._local else _kept_whole(kept)) is not None:
                found[_run_of(path)] = content
            else:
                missing.append(path)
        with self._reached("read"):
            read = {_run_of(path): content for path, content in self._contents(missing).items()}
        if not self._local:
            self._keep_abouts(keeping, read)
        return {**found, **read}

    def _contents(self, paths: list[str]) -> dict[str, bytes]:
        """Of some files, without those that were removed since; b"" for those that this user may not read."""
        read: dict[str, bytes | Exception] = {}
        if self._local:
            read.update({path: _content_or_why(Path(path)) for path in paths})
        elif paths:  # all at once where the file system can
            read.update(self._fs.cat(paths, on_error="return"))
        found: dict[str, bytes] = {}
        for path, content in read.items():
            if isinstance(content, PermissionError):
                found[path] = b""
            elif isinstance(content, bytes):
                found[path] = content
            elif not isinstance(content, FileNotFoundError):
                raise content
        return found

    def _keep_abouts(self, keeping: dict[str, Path], read: dict[str, bytes]) -> None:
        """Keep what was read for the next list, and nothing of runs that are not there any more."""
        with suppress(OSError):  # a full disk makes the next list slower, and this one no worse
            (self._cache / "abouts").mkdir(parents=True, exist_ok=True)
            for run, content in read.items():
                write_whole(keeping[run], content)
        for old in {*(self._cache / "abouts").glob("*.json")} - {*keeping.values()}:
            old.unlink(missing_ok=True)

    def has(self, run: str) -> bool:
        """Whether a run is whole there."""
        with self._reached("read"):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._at(run, RUN)))

    def fetch(self, run: str) -> Path:
        """A directory with a whole run that is there: its own, where that is on this machine."""
        if self._local:
            return self._local / run
        kept = self._cache / run
        with self._reached("read"):
            about = self._fs.cat_file(self._at(run, RUN))
            _AT_HAND.add(kept)
            if _content_or_why(kept / RUN) == about:
                kept.touch()
                return kept
            with replacing(kept) as aside:
                for path in self._fs.find(self._at(run)):
                    name = path.removeprefix("/").removeprefix(self._at(run).removeprefix("/")).lstrip("/")
                    if ".." in name.split("/"):
                        raise UsageError(f"The store {self.url} has {path}, which is no file of run {run}.")
                    if not name.startswith(PART):
                        (aside / name).parent.mkdir(parents=True, exist_ok=True)
                        self._fs.get_file(path, str(aside / name))
        self.prune()
        return kept

    def take(self, path: Path) -> Path:
        """Move a packed run there: every file, run.json last; here it goes once all there reads as it was written.

        Args:
            path: its directory.

        Returns:
            Where it is to be read from now on.

        Raises:
            UsageError: the store cannot be written, or gives back something else; the run is left where it is.
        """
        run = path.name
        names = [name for name in files_of(path) if name != RUN]
        with self._reached("written"):
            self._fs.invalidate_cache()
            if not self._is_same(path, run, [*names, RUN]):
                self._put(path, run, names)
            self._fs.invalidate_cache()
            same = self._is_same(path, run, [*names, RUN])
        if not same:
            raise UsageError(
                f"The store {self.url} does not give back run {run} as it was put there; it is kept in {path}.",
                hint=f"Once the store is well: edgesparse runs pack {run}",
            )
        if self._local:
            remove_here(path)
            return self._local / run
        kept = self._cache / run
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
        _AT_HAND.add(kept)
        self.prune()
        return kept

    def remove(self, run: str) -> None:
        """Remove a run from there, its run.json first."""
        with self._reached("written"):
            self._fs.rm_file(self._at(run, RUN))
            self._fs.rm(self._at(run), recursive=True)
        shutil.rmtree(self._cache / run, ignore_errors=True)

    def prune(self) -> None:
        """Remove what was fetched longest ago where it has become too much; nothing that this process has at hand, and
        nothing while a question is `reading`."""
        with self._lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # whoever is reading prunes afterwards
                return
            with suppress(FileNotFoundError):  # another process is just replacing one: it prunes, too
                self._prune()

    def _prune(self) -> None:
        runs = sorted(
            (each.parent for each in self._cache.glob(f"*/{RUN}") if not each.parent.name.startswith(".")),
            key=lambda run: run.stat().st_mtime,
        )
        sizes = {run: sum(file.stat().st_size for file in run.rglob("*") if file.is_file()) for run in runs}
        total = sum(sizes.values())
        for run in runs:
            if total <= CACHE_BYTES:
                return
            if run not in _AT_HAND:
                total -= sizes[run]
                shutil.rmtree(run, ignore_errors=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While the block goes on nothing that was fetched is removed, by whatever process; what has become too much
        then is afterwards."""
        if self._local:
            yield
            return
        before = set(_AT_HAND)
        try:
            with self._lock() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                yield
        finally:
            _AT_HAND.intersection_update(before)
            self.prune()

    def _lock(self) -> IO[bytes]:
        self._cache.mkdir(parents=True, exist_ok=True)
        return (self._cache / "lock").open("ab")

    def _runs(self) -> dict[str, dict[str, Any]]:
        """The run.json of every run that is whole there, and what the file system tells of it."""
        with self._reached("read"):
            self._fs.invalidate_cache()
            # An object store lists all of its names in few requests, those of each directory in one for each.
            depth = None if self._has_buckets else 2
            found: dict[str, dict[str, Any]] = self._fs.find(self._root, maxdepth=depth, detail=True)
            if not found:
                self._require_bucket()
        inner = {path: path.removeprefix("/").removeprefix(self._root.strip("/")).strip("/") for path in found}
        return {
            path: info
            for path, info in found.items()
            if inner[path].count("/") == 1 and inner[path].endswith(f"/{RUN}") and not inner[path].startswith(".")
        }

    @property
    def _has_buckets(self) -> bool:
        return hasattr(self._fs, "split_path")

    def _require_bucket(self) -> None:
        """An object store may list what is in a bucket that does not exist: nothing. A directory is made when a run is
        put there, a bucket is not."""
        bucket = self._root.strip("/").split("/")[0]
        if self._has_buckets and not self._fs.exists(bucket):
            raise FileNotFoundError(f"there is no bucket {bucket}")

    def _put(self, path: Path, run: str, names: list[str]) -> None:
        if self._fs.exists(self._at(run, RUN)):  # another one of this name, or an older form: no longer whole from here
            self._fs.rm_file(self._at(run, RUN))
        self._fs.makedirs(self._at(run), exist_ok=True)
        for name in names:
            self._put_file(path / name, self._at(run, name))
        self._put_file(path / RUN, self._at(run, f"{PART}{RUN}"))
        # A rename, or where there is none a copy that is there when it is whole.
        self._fs.mv(self._at(run, f"{PART}{RUN}"), self._at(run, RUN))
        if self._local:
            sync(self._local / run)
            sync(self._local)

    def _put_file(self, source: Path, target: str) -> None:
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(source), target)
        if self._local:
            with Path(target).open("rb") as file:
                os.fsync(file.fileno())

    def _is_same(self, path: Path, run: str, names: list[str]) -> bool:
        """Whether all of a run is there, byte for byte."""
        return all(
            self._fs.exists(self._at(run, name))
            and hashlib.sha256(self._fs.cat_file(self._at(run, name))).hexdigest() == sha256_of(path / name)
            for name in reversed(names)
        )

    def _at(self, *names: str) -> str:
        return "/".join([self._root.rstrip("/"), *names])

    @contextmanager
    def _reached(self, done: str) -> Iterator[None]:
        """What a file system of fsspec may raise is its own affair; here it is one sentence."""
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            raise StoreError(
                f"The store {self.url} cannot be {done} ({type(error).__name__}: {error}).",
                hint=f"{VARIABLE} says where it is; without it runs are in {runs_dir()}.",
            ) from error


@contextmanager
def reading() -> Iterator[None]:
    """While the block goes on nothing that was fetched from the store is removed, if there is a store."""
    place = Place.chosen()
    with place.reading() if place else nullcontext():
        yield


def _run_of(path: str) -> str:
    """The run that a run.json is of."""
    return path.split("/")[-2]


def _stamp(info: dict[str, Any]) -> str:
    """What changes when a file is replaced, as far as its file system tells."""
    told = [str(info.get(key)) for key in ("size", "ETag", "etag", "md5Hash", "mtime", "LastModified", "created")]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]


def _kept_whole(path: Path) -> bytes | None:
    """A run.json that was kept; None where there is none, or not all of it."""
    try:
        content = path.read_bytes()
        json.loads(content)
    except (OSError, ValueError):
        return None
    return content


def _content_or_why(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def files_of(path: Path) -> list[str]:
    """The names of all files of a run, those in directories with a slash; without its journal and half-written ones."""
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return [name for name in names if name != JOURNAL and not name.startswith(PART)]


def remove_here(path: Path) -> None:
    """Remove a run's directory, which stops being a run at once."""
    gone = path.with_name(f"{_GONE}{path.name}")
    path.rename(gone)
    for each in path.parent.glob(f"{_GONE}*"):  # those that a kill left, too
        shutil.rmtree(each, ignore_errors=True)


def _open(url: str) -> tuple[Any, str]:
    """The file system and the path of a URL."""
    import fsspec
    from fsspec.registry import known_implementations

    protocol = url.split("://", 1)[0].split("::")[-1] if "://" in url else "file"
    try:
        if "://" not in url:
            url = str(Path(url).expanduser().absolute())
        if protocol == "memory":
            raise UsageError(
                f"Expected a place that outlives this process as {VARIABLE}, found {url}.",
                hint="Such as /data/runs, s3://bucket/runs or sftp://host/runs.",
            )
        if protocol in ("sftp", "ssh"):
            from edgesparse.store.sftp import open_sftp

            return open_sftp(url)
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError:
        known = known_implementations.get(protocol, {})
        module = known.get("class", "").split(".")[0]
        package = module if module and module != "fsspec" else f"fsspec[{protocol}]"
        raise UsageError(
            f"Expected what opens {protocol}:// for {VARIABLE}, found it not installed "
            f"({known.get('err', '').rstrip('.') or package}).",
            hint=f"Install it: pip install {package}",
        ) from None
    except UsageError:
        raise
    except Exception as error:  # whatever a file system raises that cannot reach its other side, or does not exist
        raise UsageError(
            f"Expected a directory or a URL that fsspec opens as {VARIABLE}, found {_shown(url)} "
            f"({type(error).__name__}: {error}).",
            hint="Such as /data/runs, s3://bucket/runs or sftp://host/runs.",
        ) from None
    return found


def _shown(url: str) -> str:
    """Without its password."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)
