"""From a board's address to the hops that lead there, as `~/.ssh/config` has it."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass
from pathlib import Path

import paramiko

from edgesparse.boards.inventory import parse_address
from edgesparse.errors import BoardError, UsageError

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_MOST_HOPS = 8


@dataclass(frozen=True)
class Hop:
    """One SSH server on the way, the board being the last.

    Args:
        host: what is connected to; `name` is what the user calls it.
        known_hosts: the user's files.
    """

    name: str
    host: str
    port: int
    user: str
    identities: list[Path]
    identities_only: bool
    known_hosts: list[Path]

    @property
    def host_key_name(self) -> str:
        """What known_hosts files call it."""
        return self.host if self.port == paramiko.config.SSH_PORT else f"[{self.host}]:{self.port}"


def route(host: str, user: str | None, port: int | None, identity_file: str | None) -> list[Hop]:
    """The hops to a host; what is given goes before what the configuration says.

    Raises:
        BoardError: the configuration cannot be read, asks for what is not done here, or leads in a circle.
    """
    return _route(_load(), host, user, port, identity_file, [])


def _route(
    config: paramiko.SSHConfig,
    host: str,
    user: str | None,
    port: int | None,
    identity_file: str | None,
    on_the_way: list[str],
) -> list[Hop]:
    if host in on_the_way or len(on_the_way) >= _MOST_HOPS:
        raise BoardError(
            f"ProxyJump in {_user_config()} leads in a circle: {' → '.join([*on_the_way, host])}.", hint="Correct it."
        )
    entry, hop = _hop(config, host, user, port, identity_file)
    jumps = [jump.strip() for jump in entry.get("proxyjump", "none").split(",")]
    if jumps == ["none"]:
        if entry.get("proxycommand", "none") != "none":
            raise BoardError(
                f"{_user_config()} reaches {host} through a ProxyCommand, which edgesparse does not run.",
                hint="Use ProxyJump for this host, or give an address that can be reached directly.",
            )
        return [hop]
    hops: list[Hop] = []
    for number, jump in enumerate(jumps):
        try:
            jump_host, jump_user, jump_port = parse_address(jump)
        except UsageError:
            raise BoardError(f"ProxyJump {jump!r} of {host} in {_user_config()} is no [user@]host[:port].") from None
        if number == 0:
            hops += _route(config, jump_host, jump_user, jump_port, None, [*on_the_way, host])
        else:  # as with ssh -J a,b: a leads to b, whatever b's own ProxyJump says
            hops.append(_hop(config, jump_host, jump_user, jump_port, None)[1])
    return [*hops, hop]


def _hop(
    config: paramiko.SSHConfig, host: str, user: str | None, port: int | None, identity_file: str | None
) -> tuple[dict[str, str], Hop]:
    try:
        entry = config.lookup(host)
        port = port or int(entry.get("port", paramiko.config.SSH_PORT))
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, ValueError) as error:
        raise BoardError(f"{_user_config()} cannot be used for {host}: {error}.", hint="Correct the file.") from None
    identities = [identity_file] if identity_file else entry.get("identityfile", [])
    known_hosts = entry.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    hop = Hop(
        name=host,
        host=entry["hostname"],
        port=port,
        user=user or entry.get("user") or getpass.getuser(),
        identities=[_path(path) for path in identities],
        identities_only=entry.get("identitiesonly", "no").lower() == "yes",
        known_hosts=[_path(path) for path in known_hosts],
    )
    return entry, hop


def _load() -> paramiko.SSHConfig:
    config = paramiko.SSHConfig()
    for file in (_user_config(), SYSTEM_CONFIG):
        try:
            config.parse(iter(_lines(file, 0)))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
            raise BoardError(f"{file} cannot be used: {error}.", hint="Correct the file.") from None
    return config


def _lines(file: Path, depth: int) -> list[str]:
    """The file's lines with its `Include`s in place, which paramiko would skip."""
    lines, block = [], ""
    for line in file.read_text(encoding="utf-8").splitlines():
        words = line.strip().split(None, 1)
        keyword = words[0].lower() if words else ""
        if keyword in ("host", "match"):
            block = line
        if keyword != "include" or len(words) < 2 or depth >= _MOST_HOPS:
            lines.append(line)
            continue
        base = SYSTEM_CONFIG.parent if file.is_relative_to(SYSTEM_CONFIG.parent) else _user_config().parent
        for pattern in re.findall(r'"[^"]+"|\S+', words[1]):
            whole = base / _path(pattern.strip('"'))
            for included in sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor)))):
                lines += _lines(included, depth + 1)
                lines.append(block or "Host *")  # a Host in the included file ends with it
    return lines


def _user_config() -> Path:
    return Path.home() / ".ssh" / "config"


def _path(text: str) -> Path:
    return Path(text).expanduser()
