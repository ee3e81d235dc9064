"""A run as one file for other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgesparse.errors import UsageError
from edgesparse.files import replacing_file
from edgesparse.store.frames import samples_frame
from edgesparse.store.moving import write_archive

if TYPE_CHECKING:
    from edgesparse.store.record import RunRecord


def export(record: RunRecord, out: Path) -> None:
    """Write a run in the form that the file's name asks for: .parquet and .csv hold every sample, .json the comparison,
    .zip the whole run.

    Raises:
        UsageError: the name asks for no such form, or the file cannot be written.
    """
    form = _FORMS.get(out.suffix.lower())
    if form is None:
        raise UsageError(
            f"Expected a file that ends in {', '.join(_FORMS)}, found {out.name!r}.", hint="Give --out such a name."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(out) as aside:
            form(record, aside)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.", hint="Give another file.") from None


def _parquet(record: RunRecord, out: Path) -> None:
    samples_frame(record).to_parquet(out, index=False)


def _csv(record: RunRecord, out: Path) -> None:
    samples_frame(record).to_csv(out, index=False)


def _json(record: RunRecord, out: Path) -> None:
    import msgspec

    from edgesparse.report.export import to_json
    from edgesparse.report.summary import summarise

    document = to_json(summarise(record))
    out.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


_FORMS: dict[str, Callable[[RunRecord, Path], None]] = {
    ".parquet": _parquet, ".csv": _csv, ".json": _json, ".zip": write_archive,
}  # fmt: skip
