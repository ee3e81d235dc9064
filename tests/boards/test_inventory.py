"""From names and addresses to boards, and every way in which the inventory can be wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgesparse.boards.inventory import inventory_path, list_boards, parse_address, resolve, type_of
from edgesparse.errors import EXIT_USAGE, UsageError

INVENTORY = """
version = 1

[boards.bench]
type = "jetson"
host = "nvidia@10.0.0.5"
port = 2222
python = "/usr/bin/python3.10"
home = "/data/edgesparse"
identity_file = "~/.ssh/bench"
threads = [1, 6]

[boards.pi]
type = "raspberrypi5"
host = "pi.local"
"""


@pytest.fixture
def inventory() -> Path:
    path = Path(os.environ["EDGESPARSE_CONFIG"])
    path.parent.mkdir(parents=True)
    path.write_text(INVENTORY)
    return path


def refusal(name: str, host: str | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        resolve(name, host)
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value


def test_local_is_there_without_an_inventory() -> None:
    board = resolve("local")
    assert (board.transport, board.host, board.address, board.python) == ("local", None, None, sys.executable)
    assert board.type.name == "local"
    assert list_boards() == [board]


def test_a_board_of_the_inventory(inventory: Path) -> None:
    board = resolve("bench")
    assert board.type.name == "jetson-orin"
    assert (board.transport, board.host, board.user, board.port) == ("ssh", "10.0.0.5", "nvidia", 2222)
    assert (board.python, board.home, board.identity_file) == (
        "/usr/bin/python3.10",
        "/data/edgesparse",
        "~/.ssh/bench",
    )
    assert board.threads == [1, 6]
    assert board.address == "nvidia@10.0.0.5:2222"
    assert [each.name for each in list_boards()] == ["local", "bench", "pi"]
    assert resolve("pi").address == "pi.local"
    assert board.to_dict()["type"] == "jetson-orin"


def test_an_address_goes_before_the_inventory(inventory: Path) -> None:
    moved = resolve("bench", "10.0.0.9")
    assert (moved.host, moved.user, moved.port, moved.python) == ("10.0.0.9", "nvidia", None, "/usr/bin/python3.10")
    assert resolve("bench", "root@10.0.0.5").address == "root@10.0.0.5:2222"
    assert resolve("bench", "root@10.0.0.5:22").address == "root@10.0.0.5:22"


@pytest.mark.parametrize("name", ["bench", "pi"])
def test_a_board_is_found_again_by_its_name_and_address(inventory: Path, name: str) -> None:
    board = resolve(name)
    assert resolve(board.name, board.address) == board


def test_a_board_type_serves_as_a_name_where_an_address_is_given() -> None:
    board = resolve("raspberrypi4", "pi@192.168.1.20")
    assert (board.name, board.type.name, board.address) == ("raspberrypi4", "raspberrypi4", "pi@192.168.1.20")
    assert resolve("jetson", "x").type.name == "jetson-orin"


def test_a_board_type_without_an_address_asks_for_one() -> None:
    error = refusal("raspberrypi5")
    assert "is a board type" in error.message
    assert "--host user@10.0.0.5" in error.hint and "HOST=user@10.0.0.5" in error.hint
    assert '[boards.raspberrypi5]\ntype = "raspberrypi5"' in error.hint


def test_an_unknown_board_names_those_that_exist_and_the_lines_to_add(inventory: Path) -> None:
    error = refusal("my board", "10.0.0.1")
    assert "local, bench, pi" in error.message
    assert "jetson-nano" in error.message and "raspberrypi5" in error.message
    assert str(inventory) in error.hint and "[boards.my-board]" in error.hint


def test_the_lines_to_add_do_add_the_board() -> None:
    for name, usable in (("odd.name", "odd.name"), ('odd "name"', "odd-name"), ("größe", "gr-e"), ("ü", "board")):
        lines = refusal(name).hint.partition("\n")[2]
        inventory_path().parent.mkdir(parents=True, exist_ok=True)
        inventory_path().write_text(lines)
        assert resolve(usable).address == "user@10.0.0.5"
        inventory_path().unlink()


def test_the_type_is_known_without_an_address(inventory: Path) -> None:
    assert type_of("bench").name == "jetson-orin"
    assert type_of("raspberrypi4").name == "raspberrypi4"
    assert type_of("local").name == "local"
    with pytest.raises(UsageError, match="no board 'nothing'"):
        type_of("nothing")


def test_local_takes_no_other_machine_s_address() -> None:
    assert "'local' is this machine" in refusal("local", "10.0.0.5").message


def test_local_may_be_set_up_in_the_inventory(inventory: Path) -> None:
    inventory.write_text('version = 1\n[boards.local]\ntype = "local"\nthreads = [2]\n')
    board = resolve("local")
    assert (board.transport, board.threads, board.python) == ("local", [2], sys.executable)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n[boards.x]\ntype = 'jetson'\nhots = 'a'\n", "hots"),
        ("version = 1\n[bords.x]\ntype = 'jetson'\n", "bords"),
        ("version = 2\n", "version"),
        ("[boards.x]\ntype = 'jetson'\nhost = 'a'\n", "version"),
        ("version = 1\n[boards.x]\nhost = 'a'\n", "type"),
        ("version = 1\n[boards.x]\ntype = 'jetson'\nhost = 'a'\nport = 'b'\n", "port"),
        ("version = 1\n[boards.x]\ntype = 'jetson'\n", "no host"),
        ("version = 1\n[boards.x]\ntype = 'jetsn'\nhost = 'a'\n", "jetsn"),
        ("version = 1\n[boards.x]\ntype = 'jetson'\nhost = 'a b'\n", "a b"),
        ("version = ", "not valid TOML"),
        ("version = 1\n[boards.'a,b']\ntype = 'jetson'\nhost = 'a'\n", "boards.toml cannot be used: .*'a,b'"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_wrong_inventory_is_refused(inventory: Path, text: str | bytes, said: str) -> None:
    inventory.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError, match=said) as caught:
        resolve("x")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("board", "board", None, None),
        ("pi@board", "board", "pi", None),
        ("pi@10.0.0.5:2222", "10.0.0.5", "pi", 2222),
        ("first.last@corp@board", "board", "first.last@corp", None),
        ("fe80::1", "fe80::1", None, None),
        ("pi@::1", "::1", "pi", None),
        ("[fe80::1%eth0]:22", "fe80::1%eth0", None, 22),
        ("pi@[::1]:2222", "::1", "pi", 2222),
        ("ssh://pi@board:22/", "board", "pi", 22),
    ],
)
def test_addresses(text: str, host: str, user: str | None, port: int | None) -> None:
    assert parse_address(text) == (host, user, port)


@pytest.mark.parametrize(
    "text", ["", "@board", "board:", "board:x", "board:0", "board:65536", "a b", "-oProxyCommand=x", "a:b:c@"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="Expected an address"):
        parse_address(text)
