"""Trust in both directions: which host keys are known, and with which keys a user may log in."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from edgesparse.errors import BoardError

GLOBAL_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class _Known:
    """A line of a known_hosts file that speaks of the host."""

    file: Path
    key: paramiko.PKey
    revoked: bool


class HostKeyCheck:
    """Decides whether a host's key is trusted. There is no way around it.

    Args:
        files: known_hosts files of the user; a newly trusted key is appended to the first.
        accept_new: trust a host of which nothing is known.
        confirm: asked about such a host otherwise.
    """

    def __init__(self, files: Sequence[Path], accept_new: bool, confirm: Callable[[str], bool] | None) -> None:
        self._files, self._accept_new, self._confirm = files, accept_new, confirm

    def prefer_known_types(self, transport: paramiko.Transport, name: str) -> None:
        """Have the host show the kind of key that is known of it, if it still has one."""
        known = {algorithm for line in self._lines(name) for algorithm in _algorithms(line.key)}
        options = transport.get_security_options()
        options.key_types = sorted(options.key_types, key=lambda algorithm: algorithm not in known)

    def check(self, name: str, key: paramiko.PKey) -> None:
        """Return if the key is the host's.

        Args:
            name: the host as known_hosts files call it: `host`, or `[host]:port` for another port than 22.

        Raises:
            BoardError: the key is unknown and not accepted, revoked, or another than the known one.
        """
        lines = list(self._lines(name))
        shown = f"{_kind(key)} key {key.fingerprint}"
        if any(line.revoked and line.key == key for line in lines):
            raise BoardError(
                f"The host {name} showed the {shown}, which is marked as revoked.", hint="Do not connect to it."
            )
        known = [line for line in lines if not line.revoked]
        if any(line.key == key for line in known):
            return
        if known:
            expected = ", ".join(f"{_kind(line.key)} {line.key.fingerprint}" for line in known)
            files = dict.fromkeys(line.file for line in known)
            commands = " && ".join(f"ssh-keygen -R {_quote(name)} -f {_quote(str(file))}" for file in files)
            raise BoardError(
                f"The host key of {name} has changed: it showed the {shown}; known is {expected}. Either the board was "
                "set up anew, or somebody stands between.",
                hint=f"If you know that it was set up anew, remove the old key: {commands}",
            )
        question = f"The host {name} is not known. Its {shown}. Trust it and remember the key?"
        if not self._accept_new and not (self._confirm and self._confirm(question)):
            raise BoardError(
                f"The host {name} is not known; it showed the {shown}.",
                hint="Compare that with the board's (there: ssh-keygen -lf /etc/ssh/ssh_host_"
                f"{_kind(key).lower()}_key.pub), then try again with --accept-new-host-key.",
            )
        self._remember(name, key)

    def _lines(self, name: str) -> Iterator[_Known]:
        for file in (*self._files, GLOBAL_KNOWN_HOSTS):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BoardError(f"{file} cannot be read: {error.strerror}.", hint="Correct its permissions.") from None
            for line in text.splitlines():
                marker, _, rest = line.strip().partition(" ")
                revoked = marker == "@revoked"
                fields = rest if revoked else line.strip()
                # Other markers name certificate authorities, which paramiko does not check: such a host is unknown.
                if fields.startswith(("#", "@")) or not any(
                    _names(pattern, name) for pattern in fields.partition(" ")[0].split(",")
                ):
                    continue
                with contextlib.suppress(InvalidHostKey, paramiko.SSHException):  # a line that ssh, too, would skip
                    entry = HostKeyEntry.from_line(fields)
                    if entry is not None and entry.key is not None:
                        yield _Known(file, entry.key, revoked)

    def _remember(self, name: str, key: paramiko.PKey) -> None:
        file = self._files[0]
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not file.exists():
                file.touch(mode=0o600)
            ends_open = not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
            with file.open("a", encoding="utf-8") as lines:
                lines.write("\n" * ends_open + f"{name} {key.get_name()} {key.get_base64()}\n")
        except OSError as error:
            raise BoardError(
                f"The key of {name} cannot be written to {file}: {error.strerror}.", hint="Correct its permissions."
            ) from None


class Login:
    """The keys that a user has for a host, in the order in which OpenSSH tries them.

    Args:
        identities: private key files that the user or `~/.ssh/config` names; the usual ones in `~/.ssh` where empty.
        identities_only: use no other key, not even the agent's.
    """

    def __init__(self, identities: Sequence[Path], identities_only: bool) -> None:
        self._named = bool(identities)
        self._identities = list(identities) or [Path.home() / ".ssh" / name for name in _DEFAULT_IDENTITIES]
        self._identities_only = identities_only
        self.tried: list[str] = []
        self.encrypted: list[Path] = []

    def authenticate(self, transport: paramiko.Transport, user: str) -> bool:
        """Log in with the first key that the host takes; False when it takes none.

        `tried` then says which keys there were and what became of each, `encrypted` which files need a passphrase.

        Raises:
            TimeoutError: it does not answer.
        """
        for name, load in self._candidates():
            if not transport.is_active():  # the host ends a connection after a few refused keys (MaxAuthTries)
                self.tried.append(f"{name} (not tried: the host hung up after too many keys)")
                break
            key = load()
            if key is None:
                continue
            asked = time.monotonic()
            try:
                more = transport.auth_publickey(user, key)
            except paramiko.BadAuthenticationType as error:
                self.tried.append(f"{name} (the host takes only {', '.join(error.allowed_types)})")
                return False
            except paramiko.SSHException:
                if time.monotonic() - asked >= transport.auth_timeout:
                    raise TimeoutError from None
                self.tried.append(name)
                continue
            if not more:
                return True
            self.tried.append(f"{name} (taken, but the host also wants {', '.join(more)})")
            return False
        return False

    def _candidates(self) -> Iterator[tuple[str, Callable[[], paramiko.PKey | None]]]:
        named = {_public_blob(path) for path in self._identities}
        agent_keys = sorted(_agent_keys(), key=lambda key: key.get_base64() not in named)
        for agent_key in agent_keys:
            if not self._identities_only or agent_key.get_base64() in named:
                yield f"{agent_key.comment or agent_key.fingerprint} of the ssh-agent", lambda key=agent_key: key  # type: ignore[misc]
        in_agent = {key.get_base64() for key in agent_keys}
        for path in self._identities:
            if path.exists() and _public_blob(path) not in in_agent:
                yield str(path), lambda path=path: self._load(path)  # type: ignore[misc]
            elif self._named and not path.exists():
                self.tried.append(f"{path} (no such file)")

    def _load(self, path: Path) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):  # cryptography's way of asking for a passphrase
            self.tried.append(f"{path} (encrypted)")
            self.encrypted.append(path)
        except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            self.tried.append(f"{path} (unusable: {error})")
        return None


def _agent_keys() -> list[paramiko.AgentKey]:
    try:
        return list(paramiko.Agent().get_keys())
    except (OSError, paramiko.SSHException):  # an agent that went away leaves its socket's name in the environment
        return []


def _public_blob(path: Path) -> str | None:
    """The key of the `.pub` file beside a private key, as known_hosts and agents write it."""
    try:
        return path.with_name(path.name + ".pub").read_text().split()[1]
    except (OSError, IndexError, UnicodeDecodeError):
        return None


def _names(pattern: str, name: str) -> bool:
    """Whether a name in a known_hosts file, hashed or not, is this host's."""
    return pattern == name or (pattern.startswith("|1|") and HostKeys.hash_host(name, pattern) == pattern)


def _algorithms(key: paramiko.PKey) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if key.get_name() == "ssh-rsa" else (key.get_name(),)


def _kind(key: paramiko.PKey) -> str:
    return {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA"}.get(key.get_name(), "ECDSA")


def _quote(text: str) -> str:
    return f"'{text}'" if text[:1] == "[" and "'" not in text else shlex.quote(text)
