"""What can go wrong between here and a board, against a real OpenSSH server: each is one sentence and what to do."""

from __future__ import annotations

import dataclasses
import getpass
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.transport import LinkLost, Transport, Unreachable
from edgesparse.errors import EXIT_BOARD, BoardError
from tests.boards.conftest import make_files
from tests.sshd import Sshd, free_port, make_key
from tests.waiting import wait_until

MakeSshd = Callable[..., Sshd]


def at(host: str) -> Board:
    return resolve("x86-64", host=host)


def works(transport: Transport) -> bool:
    try:
        return transport.run(["echo", "hello"], timeout_s=10).stdout == b"hello\n"
    finally:
        transport.close()


def refusal(board: Board, **options: bool) -> BoardError:
    with pytest.raises(BoardError) as caught:
        reach(board, **options).close()  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_BOARD
    return caught.value


# -- host keys -----------------------------------------------------------------------


def test_an_unknown_host_is_refused_with_its_fingerprint(make_sshd: MakeSshd) -> None:
    server = make_sshd()
    error = refusal(at(server.host))
    assert f"[127.0.0.1]:{server.port} is not known" in error.message
    assert server.fingerprint in error.message
    assert "--accept-new-host-key" in error.hint
    assert not server.known_hosts.exists()
    assert "Accepted" not in server.log.read_text()


def test_an_accepted_key_is_remembered_as_openssh_would(make_sshd: MakeSshd) -> None:
    server = make_sshd()
    server.known_hosts.write_text("# mine\nother.example ssh-ed25519 not-even-base64")
    assert works(reach(at(server.host), accept_new_host_key=True))
    assert server.known_hosts.read_text().startswith("# mine\nother.example ssh-ed25519 not-even-base64\n")
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", server.known_hosts], capture_output=True, text=True
    )
    assert server.host_key.with_suffix(".pub").read_text().split()[1] in found.stdout
    assert works(reach(at(server.host)))
    assert server.known_hosts.stat().st_mode & 0o077 == 0o044  # the test wrote it; a new one is private


def test_a_user_is_asked_about_a_new_key(make_sshd: MakeSshd) -> None:
    server = make_sshd()
    asked: list[str] = []

    def answer(yes: bool) -> Callable[[str], bool]:
        def confirm(question: str) -> bool:
            asked.append(question)
            return yes

        return confirm

    with pytest.raises(BoardError, match="is not known"):
        reach(at(server.host), confirm=answer(False))
    assert works(reach(at(server.host), confirm=answer(True)))
    assert works(reach(at(server.host), confirm=answer(False)))
    assert len(asked) == 2
    assert server.fingerprint in asked[0]
    assert server.known_hosts.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
@pytest.mark.parametrize("hashed", [False, True])
def test_a_changed_key_is_refused_and_the_command_it_gives_cures_it(sshd: Sshd, kind: str, hashed: bool) -> None:
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", sshd.known_hosts], check=True, capture_output=True)
    assert works(reach(at(sshd.host)))
    old = sshd.fingerprint
    sshd.new_host_key(kind)
    sshd.restart()
    error = refusal(at(sshd.host), accept_new_host_key=True)
    assert "has changed" in error.message
    assert old in error.message and sshd.fingerprint in error.message
    command = f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {sshd.known_hosts}"
    assert command in error.hint
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert works(reach(at(sshd.host), accept_new_host_key=True))


def test_the_known_kind_of_key_is_asked_for(make_sshd: MakeSshd, tmp_path: Path) -> None:
    """A server with several keys shows the one that is known, here RSA, which is never the default."""
    make_key(tmp_path / "rsa", kind="rsa")
    server = make_sshd(f"HostKey {tmp_path / 'rsa'}")
    kind, key = (tmp_path / "rsa.pub").read_text().split()[:2]
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")
    assert works(reach(at(server.host)))


def test_a_revoked_key_is_never_trusted(sshd: Sshd) -> None:
    sshd.known_hosts.write_text("@revoked " + sshd.known_hosts.read_text())
    assert "revoked" in refusal(at(sshd.host), accept_new_host_key=True).message


def test_lines_that_are_not_understood_are_skipped(sshd: Sshd) -> None:
    good = sshd.known_hosts.read_text()
    name = good.split()[0]
    sshd.known_hosts.write_text(
        f"@cert-authority {name} ssh-rsa AAAA\n{name}\n{name} ssh-dss x\n\n{name} ssh-rsa !\n{good}"
    )
    assert works(reach(at(sshd.host)))


def test_no_setting_turns_the_check_off(make_sshd: MakeSshd) -> None:
    server = make_sshd()
    (server.ssh_dir / "config").write_text("Host *\n  StrictHostKeyChecking no\n")
    assert "is not known" in refusal(at(server.host)).message


# -- logging in ----------------------------------------------------------------------


def test_a_refused_key_is_named_and_what_to_do(sshd: Sshd) -> None:
    sshd.authorized_keys.write_text("")
    error = refusal(at(sshd.host))
    assert f"127.0.0.1 does not let {sshd.user} in" in error.message
    assert str(sshd.identity) in error.message
    assert f"ssh-copy-id -p {sshd.port} {sshd.host.rpartition(':')[0]}" in error.hint


def test_a_user_without_any_key_is_told_to_make_one(sshd: Sshd) -> None:
    sshd.identity.unlink()
    error = refusal(at(sshd.host))
    assert "no key" in error.message
    assert "ssh-keygen -t ed25519" in error.hint


def test_an_encrypted_key_is_named_and_needs_the_agent(sshd: Sshd) -> None:
    sshd.identity.unlink()
    make_key(sshd.ssh_dir / "id_ecdsa", passphrase="secret", kind="ecdsa")
    error = refusal(at(sshd.host))
    assert f"{sshd.ssh_dir / 'id_ecdsa'} (encrypted)" in error.message
    assert f"ssh-add {sshd.ssh_dir / 'id_ecdsa'}" in error.hint


def test_a_file_that_is_no_key_is_named(sshd: Sshd) -> None:
    sshd.identity.write_text("nonsense")
    assert f"{sshd.identity} (unusable" in refusal(at(sshd.host)).message


def test_a_named_identity_is_used_and_a_missing_one_named(sshd: Sshd, tmp_path: Path) -> None:
    sshd.identity.rename(tmp_path / "elsewhere")
    board = at(sshd.host)
    assert works(reach(dataclasses.replace(board, identity_file=str(tmp_path / "elsewhere"))))
    error = refusal(dataclasses.replace(board, identity_file="~/.ssh/gone"))
    assert f"{sshd.ssh_dir / 'gone'} (no such file)" in error.message


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys_serve_too(sshd: Sshd, kind: str) -> None:
    sshd.identity.unlink()
    make_key(sshd.ssh_dir / f"id_{kind}", kind=kind)
    sshd.authorized_keys.write_text((sshd.ssh_dir / f"id_{kind}.pub").read_text())
    assert works(reach(at(sshd.host)))


def test_a_server_that_wants_a_password_says_so(make_sshd: MakeSshd) -> None:
    server = make_sshd("PubkeyAuthentication no", "PasswordAuthentication yes", "PermitRootLogin yes")
    server.know_host()
    assert "takes only password" in refusal(at(server.host)).message


def test_too_many_keys_are_no_endless_story(make_sshd: MakeSshd, agent: str) -> None:
    server = make_sshd("MaxAuthTries 2")
    server.know_host()
    for number in range(4):
        make_key(server.ssh_dir / f"more{number}")
        subprocess.run(["ssh-add", "-q", server.ssh_dir / f"more{number}"], check=True, capture_output=True)
    assert "the host hung up after too many keys" in refusal(at(server.host)).message
    # Naming the key is the cure: the agent's others are then left alone.
    (server.ssh_dir / "config").write_text(f"Host *\nIdentityFile {server.identity}\nIdentitiesOnly yes\n")
    assert works(reach(at(server.host)))


@pytest.fixture
def agent(make_sshd: MakeSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real ssh-agent, in use, without keys."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 5
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield str(path)
    process.kill()
    process.wait()


def test_the_agent_s_keys_serve(sshd: Sshd, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works(reach(at(sshd.host)))
    subprocess.run(["ssh-add", "-q", sshd.identity], check=True, capture_output=True)
    sshd.identity.unlink()
    assert works(reach(at(sshd.host)))
    monkeypatch.setenv("SSH_AUTH_SOCK", agent + ".gone")
    assert "no key" in refusal(at(sshd.host)).message


# -- the way there -------------------------------------------------------------------


def test_a_port_where_nothing_listens(sshd: Sshd) -> None:
    started = time.monotonic()
    error = refusal(at(f"127.0.0.1:{free_port()}"))
    assert isinstance(error, Unreachable)
    assert "nothing listens on port" in error.message
    assert time.monotonic() - started < 60


def test_a_board_that_is_just_booting_is_tried_again(sshd: Sshd) -> None:
    sshd.stop()
    threading.Timer(0.15, sshd.start).start()
    assert works(reach(at(sshd.host)))


def test_a_host_that_does_not_answer_has_a_deadline(sshd: Sshd) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    filling = [socket.socket() for _ in range(3)]
    for each in filling:
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", port))  # the queue is full: further connections get no answer at all
    started = time.monotonic()
    with pytest.raises(Unreachable, match="did not answer within 1 s"):
        SshTransport(at(f"127.0.0.1:{port}"), connect_timeout_s=1)
    assert time.monotonic() - started < 600
    for each in (listener, *filling):
        each.close()


def test_a_host_that_is_silent_or_no_ssh_server(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        with pytest.raises(Unreachable, match="takes connections and then says nothing for 1 s"):
            SshTransport(at(f"127.0.0.1:{listener.getsockname()[1]}"), connect_timeout_s=1)
        assert time.monotonic() - started < 60


def test_a_name_that_nobody_knows(sshd: Sshd) -> None:
    assert "'no-such-board.invalid' is not known" in refusal(at("no-such-board.invalid")).message


def test_the_user_s_configuration_leads_there(sshd: Sshd, tmp_path: Path) -> None:
    sshd.identity.rename(tmp_path / "key")
    (sshd.ssh_dir / "config.d").mkdir()
    (sshd.ssh_dir / "config.d" / "boards").write_text(
        f"Host bench\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
    )
    (sshd.ssh_dir / "config").write_text(
        f"Include config.d/*\nHost *\n  User nobody-of-this-name\n  IdentityFile {tmp_path / 'key'}\n"
    )
    assert works(reach(at("bench")))
    assert "nobody-of-this-name" in refusal(at(f"127.0.0.1:{sshd.port}")).message
    assert works(reach(at(sshd.host)))


def test_known_hosts_may_lie_elsewhere(make_sshd: MakeSshd, tmp_path: Path) -> None:
    server = make_sshd()
    (server.ssh_dir / "config").write_text(f"Host *\nUserKnownHostsFile {tmp_path / 'deep' / 'known'} /dev/null\n")
    assert works(reach(at(server.host), accept_new_host_key=True))
    assert str(server.port) in (tmp_path / "deep" / "known").read_text()
    assert works(reach(at(server.host)))


def test_jump_hosts_in_a_chain(make_sshd: MakeSshd) -> None:
    first, second, board = make_sshd(), make_sshd(), make_sshd("PermitOpen none")
    for server in (first, second, board):
        server.know_host()
    config = board.ssh_dir / "config"
    config.write_text(
        f"Host first\n HostName 127.0.0.1\n Port {first.port}\n"
        f"Host board\n HostName 127.0.0.1\n Port {board.port}\n ProxyJump first,{second.host}\n"
    )
    transport = reach(at("board"))
    assert transport.home == str(board.board_home)
    assert len(first.sessions()) and len(second.sessions()) and len(board.sessions())
    assert works(transport)
    # Each hop is checked as the board is, and is named when it fails.
    second.new_host_key()
    second.restart()
    assert f"[127.0.0.1]:{second.port} has changed" in refusal(at("board")).message
    second.know_host()
    board.stop()
    assert "through the jump host" in refusal(at("board")).message
    config.write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    assert "in a circle: a → b → a" in refusal(at("a")).message


def test_a_proxy_command_is_refused_rather_than_ignored(sshd: Sshd) -> None:
    (sshd.ssh_dir / "config").write_text("Host *\n ProxyCommand nc %h %p\n")
    assert "ProxyCommand" in refusal(at(sshd.host)).message


def test_a_broken_configuration_is_named(sshd: Sshd) -> None:
    (sshd.ssh_dir / "config").write_text("Host x\n  Port\n")
    assert f"{sshd.ssh_dir / 'config'} cannot be used" in refusal(at(sshd.host)).message


# -- a reached board -----------------------------------------------------------------


def test_the_home_of_the_store(sshd: Sshd, make_sshd: MakeSshd) -> None:
    board = at(sshd.host)
    assert reach(board).home == str(sshd.board_home)
    assert reach(dataclasses.replace(board, home="~/store")).home == f"{sshd.user_home}/store"
    assert reach(dataclasses.replace(board, home="/tmp/store")).home == "/tmp/store"
    with pytest.raises(BoardError, match="no absolute path"):
        _ = reach(dataclasses.replace(board, home="store")).home


def test_a_chatty_login_script_disturbs_nothing(sshd: Sshd, tmp_path: Path) -> None:
    (sshd.user_home / ".bashrc").write_text("echo Welcome to the board; echo ready made\n")
    transport = reach(at(sshd.host))
    assert transport.home == str(sshd.board_home)
    (local,) = make_files(tmp_path / "here", 1000)
    target = Path(transport.home) / "objects" / "x"
    transport.put([(local, str(target))], lambda count: None)
    assert target.read_bytes() == local.read_bytes()


def test_a_cut_link_is_noticed_and_leaves_nothing_under_the_right_name(sshd: Sshd, tmp_path: Path) -> None:
    transport = reach(at(sshd.host))
    (local,) = make_files(tmp_path / "here", 20_000_000)
    target = Path(transport.home) / "objects" / "big"
    moved = 0

    def cut_half_way(count: int) -> None:
        nonlocal moved
        moved += count
        if moved > 5_000_000 >= moved - count:
            sshd.cut()

    with pytest.raises(LinkLost):
        transport.put([(local, str(target))], cut_half_way)
    assert not target.exists()
    with pytest.raises(LinkLost):
        transport.run(["true"], timeout_s=60)
    transport.close()
    again = reach(at(sshd.host))
    again.put([(local, str(target))], lambda count: None)
    assert target.read_bytes() == local.read_bytes()
    # What took the first try may just end.
    wait_until(lambda: [path.name for path in target.parent.iterdir()] == ["big"])
    again.close()


def test_reads_and_writes_on_a_cut_link_say_so(sshd: Sshd) -> None:
    transport = reach(at(sshd.host))
    stream = transport.open(["cat"])
    stream.write(b"hello\n")
    assert stream.readline(60) == b"hello\n"
    sshd.cut()
    with pytest.raises(LinkLost):
        stream.readline(60)
    with pytest.raises(LinkLost):
        for _ in range(100):
            stream.write(bytes(100_000))
    stream.close()
    transport.close()


def test_a_command_on_a_cut_link_says_so(sshd: Sshd) -> None:
    transport = reach(at(sshd.host))
    threading.Timer(0.3, sshd.cut).start()
    with pytest.raises(LinkLost):
        transport.run(["sleep", "20"], timeout_s=30)


def test_a_link_that_falls_silent_is_given_up(sshd: Sshd) -> None:
    """Nothing ends the connection; only the missing answers tell."""
    transport = SshTransport(at(sshd.host), keepalive_s=0.3, dead_link_s=4.0)
    stream = transport.open(["cat"])
    time.sleep(1.0)
    stream.write(b"alive\n")
    assert stream.readline(60) == b"alive\n"
    sshd.freeze()
    started = time.monotonic()
    with pytest.raises(LinkLost):
        stream.readline(120)
    assert time.monotonic() - started < 100
    with pytest.raises(LinkLost):
        transport.run(["true"], timeout_s=60)


def test_the_fixture_s_user_is_the_one_who_runs_it(sshd: Sshd) -> None:
    assert reach(at(sshd.host)).run(["id", "-un"], timeout_s=60).stdout.decode().strip() == getpass.getuser()
    assert os.environ["HOME"] == str(sshd.client_home)
