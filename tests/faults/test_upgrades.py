"""An agent of another version that measures, and an upgrade that is refused, or waits for it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgesparse.agent.journal import last_record, read_from
from edgesparse.boards.inventory import Board
from edgesparse.convert import Bundle
from edgesparse.zipapp import agent_zipapp
from tests.faults.boards import CELLS, measure
from tests.faults.conftest import samples
from tests.faults.test_agents import start_repacked, with_a_run
from tests.sshd import Sshd

UPGRADE = [sys.executable, "-m", "edgesparse.cli", "agent", "upgrade", "--board", "loop"]


@pytest.mark.timeout(600)
def test_an_upgrade_waits_for_the_run_that_is_on(bundle: Bundle, board: Board, sshd: Sshd) -> None:
    """The run is held up by the lock that another user's agent would have, until the upgrade waits for it."""
    ran = measure(bundle, board, rounds=1).record.id
    spec = json.loads((sshd.board_home / "runs" / ran / "spec.json").read_bytes())
    run = f"{ran}-old"
    with Path(os.environ["EDGESPARSE_LOCK"]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start_repacked(sshd, 1)
        with_a_run(sshd, 1, {**spec, "run": run})

        refused = subprocess.run(UPGRADE, capture_output=True, text=True, check=False)
        assert refused.returncode == 4
        assert f"loop is busy: the board is measuring run {run} of" in " ".join(refused.stderr.split())

        waits = subprocess.Popen(
            [*UPGRADE, "--wait", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waits.stderr is not None
        said = ""
        for line in waits.stderr:
            said += line
            if "Waiting." in line:
                break
        assert f"measuring run {run} of" in " ".join(said.split()) and waits.poll() is None
    out, err = waits.communicate(timeout=300)
    assert waits.returncode == 0, err
    journal = sshd.board_home / "runs" / run / "journal.jsonl"
    assert (last_record(journal) or {})["status"] == "finished"
    assert samples([each for _, each in read_from(journal, 0)]) == CELLS * 15
    state = json.loads(out)
    assert (state["state"], state["removed"]) == ("started", 1)
    assert [path.name for path in (sshd.board_home / "agent").iterdir()] == [f"{agent_zipapp()[1]}.pyz"]
