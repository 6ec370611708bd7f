"""The programs that measure the door. Nothing else takes the place of one that is missing."""

import shutil
from pathlib import Path

DEBIAN_SERVERS = Path("/usr/lib/postgresql")


class MissingToolError(Exception):
    """A program is not installed. Its message says which Debian package has it."""


def wrk() -> str:
    """Return the path of wrk, the load generator. Raises MissingToolError, also where there is no /proc to read."""
    if not Path("/proc/self/stat").exists():
        raise MissingToolError("What a server costs is read from /proc, which only Linux has.")
    if found := shutil.which("wrk"):
        return found
    raise MissingToolError("wrk is not installed, which sends the requests. On Debian: apt-get install wrk")


def pgbench() -> str:
    """Return the path of the newest pgbench. Raises MissingToolError."""
    # Debian keeps it beside its server; what it has in /usr/bin is a wrapper that is there without it too.
    installed = sorted(DEBIAN_SERVERS.glob("*/bin/pgbench"), key=lambda path: float(path.parts[-3]))
    if found := str(installed[-1]) if installed else shutil.which("pgbench"):
        return found
    raise MissingToolError("pgbench is not installed, the ceiling on PostgreSQL. On Debian: apt-get install postgresql")
