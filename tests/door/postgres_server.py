"""A PostgreSQL of a test's own, which may be stopped as by a power cut and started again."""

import os
import subprocess
import tempfile
from pathlib import Path
from shutil import chown, rmtree, which

from tests.door.serving import free_port

PATIENCE_SECONDS = 60


class PostgresServer:
    """A server on a free port of the loopback interface that waits for its disk. A context: gone after it."""

    def __init__(self) -> None:
        self._port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="convultra-postgres-"))
        self.url = f"postgres://convultra@127.0.0.1:{self._port}/convultra"

    def __enter__(self) -> "PostgresServer":
        try:
            if os.getuid() == 0:
                chown(self._home, "postgres")
            self._run("initdb", "--auth=trust", "--username=convultra", "--encoding=UTF8", "--no-sync")
            self.start()
            self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "convultra", "convultra")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if (self._home / "data" / "postmaster.pid").exists():
            self.stop()
        rmtree(self._home)

    def start(self) -> None:
        """Start it, after a crash with its recovery, and wait until it takes connections."""
        options = f"-h 127.0.0.1 -p {self._port} -k {self._home}"
        self._run("pg_ctl", f"--log={self._home / 'log'}", "--wait", f"--options={options}", "start")

    def stop(self) -> None:
        """Stop it at once: every connection breaks, and nothing that is not on the disk survives."""
        self._run("pg_ctl", "--mode=immediate", "stop")

    def copy(self, database_url: str) -> None:
        """Copy a database into this server's one."""
        copied = self._home / "copied.sql"
        self._run("pg_dump", "--no-owner", f"--dbname={database_url}", user="")
        (self._home / "pg_dump.txt").rename(copied)
        self._run("psql", f"--dbname={self.url}", "--quiet", f"--file={copied}", user="")

    def _run(self, program: str, *arguments: str, user: str = "postgres") -> None:
        command = [str(_programs() / program), *arguments]
        if user and os.getuid() == 0:  # a server refuses to run as root; the package's own user does
            command = ["runuser", "-u", user, "--", *command]
        environment = os.environ | {"PGDATA": str(self._home / "data")}
        # To a file: pg_ctl's server would hold a pipe open.
        with (self._home / f"{program}.txt").open("wb") as said:
            ended = subprocess.run(
                command, env=environment, cwd="/", stdout=said, stderr=said, check=False, timeout=PATIENCE_SECONDS
            )
        if ended.returncode:
            raise AssertionError(f"{program}: {(self._home / f'{program}.txt').read_text()[-1000:]}")


def _programs() -> Path:
    """Return where the newest PostgreSQL of this machine has its programs, as `.ci/postgres` finds them."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda found: int(found.parts[-3]))
    return packaged[-1].parent if packaged else Path(which("initdb") or "initdb").parent
