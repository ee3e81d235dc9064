"""What becomes of a run that has ended: packed, and moved to the store where there is one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgesparse.store.paths import runs_dir
from edgesparse.store.place import Place
from edgesparse.store.record import RunRecord

# The runs of many boards may end together; packed at once, each would hold memory of its own.
_PACKING = threading.Lock()


def put_away(record: RunRecord) -> bool:
    """Pack a run and move it to the store, where EDGESPARSE_STORE names one.

    Returns:
        Whether anything had to be done.

    Raises:
        UsageError: it has not ended, or the store refuses it. OSError: the disk does. The run is whole where it was.
    """
    was = (record.packed, record.path)
    with _PACKING:
        record.pack()
    place = Place.chosen()
    if place and record.path.parent == runs_dir():
        record.move_to(place)
    return was != (record.packed, record.path)


def try_to_put_away(record: RunRecord, tell: Callable[[str], None]) -> None:
    """The same at the end of a run, whose result does not depend on it: what goes wrong is told, and the run stays
    readable where it is."""
    try:
        if record.finished:
            put_away(record)
    except Exception as error:  # whatever a disk, a store's library or damage comes up with
        tell(f"run {record.id} stays in {record.path} as it is: {error}; `edgesparse runs pack` tries again")
