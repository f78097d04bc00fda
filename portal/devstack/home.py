"""Where a copy keeps its state (`WATTLINE_HOME`), and the user its servers run as."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal import env
from portal.devstack.errors import SetupError

# A Unix socket's path has at most 107 bytes; PostgreSQL appends "/.s.PGSQL.65535.lock".
_LONGEST_SOCKET_FOLDER = 80


@dataclass(frozen=True)
class ServiceUser:
    """The unprivileged user that PostgreSQL and Redis run as when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Home:
    """One copy's state folder."""

    path: Path

    @property
    def stack(self) -> Path:
        """Unpacked packages; `WATTLINE_STACK` names a folder to share between copies."""
        shared = os.environ.get("WATTLINE_STACK")
        return Path(shared).expanduser().absolute() if shared else self.path / "stack"

    @property
    def run(self) -> Path:
        """Locks, sockets and what is running."""
        return self.path / "run"

    @property
    def log(self) -> Path:
        """One log file per server."""
        return self.path / "log"

    @property
    def secrets(self) -> Path:
        """Passwords and keys, for the user who runs this copy alone."""
        return self.path / "secrets"

    @property
    def sockets(self) -> Path:
        """Folder of the servers' Unix sockets, elsewhere when the state folder's path is too long
        for one."""
        folder = self.run / "sockets"
        if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
            return folder
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path("/tmp") / f"wattline-{os.geteuid()}-{digest}"

    def prepare(self) -> None:
        """Makes the folders; raises SetupError when this cannot be done."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in (self.run, self.log):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
            self.secrets.chmod(0o700)
            self._prepare_sockets()
        except OSError as error:
            raise SetupError(explain_os_error(error, self.path)) from error
        user = service_user()
        if user is not None and not reachable(self.path, user):
            raise SetupError(
                f"{self.path} lies under a folder that the user {user.name} cannot enter, and "
                "PostgreSQL does not run "
                "as root: set WATTLINE_HOME to a folder such as /var/lib/wattline"
            )

    def _prepare_sockets(self) -> None:
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid not in _own_uids():
            raise SetupError(f"{self.sockets} belongs to somebody else: remove it")
        give_to_service_user(self.sockets, 0o700)

    def secret(self, name: str, length: int = 32) -> str:
        """The secret `name`, made at the first call: letters and digits only, so that it fits a
        URL."""
        file = self.secrets / name
        try:
            if file.exists() and (value := file.read_text(encoding="ascii").strip()):
                return value
            value = secrets.token_hex(length // 2)
            write_private(file, value + "\n")
        except OSError as error:
            raise SetupError(explain_os_error(error, file)) from error
        return value

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Holds the lock `name` of this copy; a second process waits."""
        with (self.run / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read_state(self, name: str) -> dict[str, object]:
        """What `write_state` left; empty when there is none or it is unreadable."""
        try:
            state = json.loads((self.run / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def write_state(self, name: str, state: dict[str, object]) -> None:
        """Remembers `state` under `name`, atomically."""
        write_atomic(self.run / f"{name}.json", json.dumps(state, indent=1) + "\n", 0o644)


def current() -> Home:
    """This copy's home, ready for use.

    As root the servers run as another user; when that user cannot reach a folder in the checkout
    (it lies in a home folder of mode 700), the state moves to `/var/lib/wattline`, and
    `.wattline-home` in the checkout remembers where.
    """
    path = env.home()
    user = service_user()
    if "WATTLINE_HOME" not in os.environ and user is not None and not reachable(path.parent, user):
        digest = hashlib.sha256(os.fsencode(env.CHECKOUT)).hexdigest()[:8]
        path = Path("/var/lib/wattline") / f"{env.CHECKOUT.name}-{digest}"
        (env.CHECKOUT / ".wattline-home").write_text(f"{path}\n", encoding="utf-8")
    home = Home(path)
    home.prepare()
    return home


def service_user() -> ServiceUser | None:
    """The user for the servers, or None when we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServiceUser(name, entry.pw_uid, entry.pw_gid)
    raise SetupError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody: add one "
        "(useradd)"
    )


def reachable(folder: Path, user: ServiceUser) -> bool:
    """Whether `user` can enter `folder` (or, while it does not exist, its nearest parent)."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return all(_may_enter(parent.stat(), user) for parent in (folder, *folder.parents))


def _may_enter(folder: os.stat_result, user: ServiceUser) -> bool:
    if folder.st_uid == user.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == user.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def give_to_service_user(path: Path, mode: int) -> None:
    """Sets the mode and, as root, makes the service user the owner."""
    user = service_user()
    if user is not None:
        os.chown(path, user.uid, user.gid)
    path.chmod(mode)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, atomically."""
    write_atomic(path, text, 0o600)


def write_atomic(path: Path, text: str, mode: int) -> None:
    """Writes `text` so that a reader sees the old or the new content, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def require_space(folder: Path, megabytes: int) -> None:
    """Raises SetupError when the disk of `folder` has less than `megabytes` free."""
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < megabytes:
        raise SetupError(
            f"only {free} MB are free on the disk of {folder} and {megabytes} MB are needed: free "
            "some space, or set "
            "WATTLINE_HOME to a folder on a larger disk"
        )


def explain_os_error(error: OSError, path: Path) -> str:
    """One sentence for a failed file operation."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"the disk of {path} is full: free some space, or set WATTLINE_HOME to a folder on a "
            "larger disk"
        )
    name = error.filename or path
    if error.errno == errno.ENOENT and os.sep not in str(name):
        return f"the program {name} is missing: install it, then try again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            f"{name} cannot be written ({error.strerror}): correct its owner, or set WATTLINE_HOME"
        )
    return f"{name}: {error.strerror}: set WATTLINE_HOME to a folder that can be used"


def _own_uids() -> set[int]:
    user = service_user()
    return {os.geteuid()} | ({user.uid} if user else set())
