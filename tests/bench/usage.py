"""What a process and its descendants use of processors and memory, from /proc (man 5 proc)."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants so far, the ones that ended included."""
    # user and system time, each also of children that ended and were waited for
    return sum(sum(int(ticks) for ticks in fields[11:15]) for fields in _tree(pid)) / TICKS_A_SECOND


def ended_cpu_seconds() -> float:
    """Return the processor time of this process's own children that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_mib(pid: int) -> float:
    """Return what a process and its descendants hold of the machine's memory now; shared pages count for each."""
    return sum(int(fields[21]) for fields in _tree(pid)) * PAGE_BYTES / 2**20


def postmaster(database_url: str) -> int | None:
    """Return the process above all backends of a PostgreSQL server; None when it does not run on this machine."""
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        backend = Path("/proc") / str(connection.info.backend_pid)
        with suppress(OSError):
            if (backend / "comm").read_text().startswith("postgres"):
                return int(_fields(backend)[1])
    return None


def _tree(top: int) -> list[list[str]]:
    """Return the fields of a process and its descendants."""
    found = dict(_all())
    children: dict[int, list[int]] = {}
    for pid, fields in found.items():
        children.setdefault(int(fields[1]), []).append(pid)
    tree, waiting = [], [top]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            tree.append(found[pid])
            waiting += children.get(pid, [])
    return tree


def _all() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            yield int(entry.name), _fields(entry)


def _fields(entry: Path) -> list[str]:
    """Return what follows the name, which may hold anything but ends at the last parenthesis: state, parent, …"""
    return (entry / "stat").read_text().rpartition(")")[2].split()
