"""The door: how many events it takes when each is on disk before its 202, beside what the same machine could do.

bare server              the same web server, which reads the body and answers: the floor of HTTP
pgbench                  one row, one statement, one commit: the ceiling of PostgreSQL, for which no HTTP is spoken
door                     `POST /v1/<write_key>/events` with one event, with ten, and on one connection
plain ORM view           `tests/bench/orm_view.py`, on the same web server

Every run begins with an empty table. What it stored is counted by the ids of its own events: one that got a 2xx and is
not there, or more than were asked for, makes the run void.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

from tests.bench import load, pgbench, tools, usage
from tests.bench.frame import Ratio, Round, Run, VoidRunError, against, busy_lines, ratio_lines, take_rounds
from tests.bench.processes import NOWHERE, Server, Worker, served, web, worker

ORIGIN = "https://shop.example"  # load.lua sends it
SECONDS, WARM_UP_SECONDS = 5, 1
CONNECTIONS = 64
TEN = 10
GOAL_P99_MS = 60.0
BARE, CEILING, ORM = "bare server", "pgbench", "plain ORM view"
DOOR, DOOR_TEN, DOOR_ALONE = "door", "door, ten events", "door, one connection"
POSTGRES_RATIOS = (
    Ratio(DOOR, CEILING, 0.6),
    Ratio(DOOR_TEN, CEILING, 2.0),
    Ratio(DOOR, ORM),
    Ratio(DOOR_TEN, ORM),
    Ratio(DOOR, BARE),
)
SQLITE_RATIOS = (Ratio(DOOR, ORM, 6.0), Ratio(DOOR_TEN, ORM), Ratio(DOOR, BARE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Run):
    """A run at a door. `rows` are its events; `cpu_seconds` are the server's, the database's are apart.

    pgbench tells no percentiles; its `p50_ms` is the mean.
    """

    requests: int
    p50_ms: float
    p99_ms: float | None
    database_cpu_seconds: float
    sender_cpu_seconds: float


def check_rows(stored: int, answered: int, under_way: int) -> None:
    """Raise VoidRunError unless all that was answered is stored, and no more than what was under way at the end."""
    if not answered <= stored <= answered + under_way:
        raise VoidRunError(
            f"{answered:,} events got a 2xx, {under_way:,} more were under way at most, and {stored:,} are stored"
        )


def bench(database_url: str, seconds: int, rounds: int, said: Callable[[str], object]) -> list[Round[Load]]:
    """Take the rounds on one database and say what came out. Raises VoidRunError and MissingToolError.

    Without pgbench everything else is measured before the error.
    """
    tools.wrk()
    is_postgres = database_url.startswith("postgres")
    missing = _missing_pgbench() if is_postgres else None
    with ExitStack() as stack:
        clerk = stack.enter_context(worker(database_url, NOWHERE))
        clerk.do("migrate")
        if not clerk.do("durability")["is_durable"]:
            said(
                "  This server does not wait for its disk (fsync, synchronous_commit): what a commit costs is not here."
            )
        site = clerk.do("open_door", origin=ORIGIN)
        workers = 2 if is_postgres else 1  # as `manage.py web` decides
        door = stack.enter_context(web(database_url))
        bare = stack.enter_context(served("tests.bench.bare_server:application", database_url, workers))
        plain = stack.enter_context(
            served("convultra.wsgi:application", database_url, workers, "wsgi", "tests.bench.orm_settings")
        )
        case = Doors(database_url, clerk, site["site_id"], f"/v1/{site['write_key']}/events", seconds)
        runs: dict[str, Callable[[], Load]] = {
            BARE: lambda: case.at(bare, "/", is_stored=False),
            CEILING: case.pgbench,
            DOOR: lambda: case.at(door, case.path),
            DOOR_TEN: lambda: case.at(door, case.path, events=TEN),
            ORM: lambda: case.at(plain, f"/{site['site_id']}/events"),
            DOOR_ALONE: lambda: case.at(door, case.path, connections=1),
        }
        if not is_postgres or missing:
            del runs[CEILING]
        taken = take_rounds(runs, rounds, said)
    for line in report(taken, POSTGRES_RATIOS if is_postgres else SQLITE_RATIOS):
        said(line)
    if missing:
        raise missing
    return taken


def report(rounds: Sequence[Round[Load]], ratios: Sequence[Ratio]) -> list[str]:
    """Return the lines that sum up a database: ratios, the wait of one in a hundred, and what each run was like."""
    taken = rounds[0].runs
    lines = ratio_lines(rounds, [ratio for ratio in ratios if {ratio.of, ratio.to} <= set(taken)])
    waits = [wait for each in rounds if (wait := each.runs[DOOR].p99_ms) is not None]
    values = " ".join(f"{wait:.1f}" for wait in waits)
    goal = against(median(waits) <= GOAL_P99_MS, f"at most {GOAL_P99_MS:g}")
    lines.append(f"  p99 of the door at {CONNECTIONS} connections, ms: {median(waits):.1f}   ({values}){goal}")
    lines.append(f"  {'':22}  requests/s  events/s  p50 ms  p99 ms   µs of CPU a request: server  database  sender")
    return lines + [_row(name, [each.runs[name] for each in rounds]) for name in taken] + busy_lines(rounds)


def _row(name: str, runs: Sequence[Load]) -> str:
    requests, events = (median(run.requests / run.seconds for run in runs), median(run.rate for run in runs))
    waits = [run.p99_ms for run in runs if run.p99_ms is not None]
    p50, p99 = median(run.p50_ms for run in runs), f"{median(waits):.1f}" if waits else "–"
    server = _cost(run.cpu_seconds / run.requests for run in runs)
    database = _cost(run.database_cpu_seconds / run.requests for run in runs)
    sender = _cost(run.sender_cpu_seconds / run.requests for run in runs)
    return (
        f"  {name:22}  {requests:10,.0f}  {events:8,.0f}  {p50:6.1f}  {p99:>6}"
        f"  {server:>28}  {database:>8}  {sender:>6}"
    )


def _cost(seconds: Iterable[float]) -> str:
    """Return the median in microseconds, or a dash where there is no such process."""
    return f"{cost * 1e6:.0f}" if (cost := median(seconds)) else "–"


def _missing_pgbench() -> tools.MissingToolError | None:
    try:
        tools.pgbench()
    except tools.MissingToolError as error:
        return error
    return None


class Doors:
    """The runs of one database. Each raises VoidRunError when what is stored is not what was answered."""

    def __init__(self, database_url: str, clerk: Worker, site_id: int, path: str, seconds: int) -> None:
        self.path = path
        self._database_url, self._clerk, self._site_id, self._seconds = database_url, clerk, site_id, seconds
        self._postmaster = usage.postmaster(database_url) if database_url.startswith("postgres") else None

    def at(
        self, server: Server, path: str, *, events: int = 1, connections: int = CONNECTIONS, is_stored: bool = True
    ) -> Load:
        self._clerk.do("forget_events")
        address, prefix = f"{server.address}{path}", _prefix()
        load.send(address, _prefix(), events=events, connections=connections, seconds=WARM_UP_SECONDS)
        cpu, database_cpu = usage.cpu_seconds(server.pid), self._database_cpu_seconds()
        answered = load.send(address, prefix, events=events, connections=connections, seconds=self._seconds)
        cpu, database_cpu = usage.cpu_seconds(server.pid) - cpu, self._database_cpu_seconds() - database_cpu
        if not answered.requests:
            raise VoidRunError(f"No request was answered in {self._seconds} s")
        if is_stored:
            self._check(prefix, answered.requests * events, connections * events)
        return Load(
            rows=answered.requests * events,
            seconds=answered.seconds,
            cpu_seconds=cpu,
            phases={},
            resident_mib=usage.resident_mib(server.pid),
            requests=answered.requests,
            p50_ms=answered.p50_ms,
            p99_ms=answered.p99_ms,
            database_cpu_seconds=database_cpu,
            sender_cpu_seconds=answered.sender_cpu_seconds,
        )

    def pgbench(self) -> Load:
        self._clerk.do("forget_events")
        pgbench.store(self._database_url, self._site_id, _prefix(), seconds=WARM_UP_SECONDS)
        prefix, database_cpu = _prefix(), self._database_cpu_seconds()
        stored = pgbench.store(self._database_url, self._site_id, prefix, seconds=self._seconds)
        database_cpu = self._database_cpu_seconds() - database_cpu
        self._check(prefix, stored.rows, pgbench.CONNECTIONS)
        return Load(
            rows=stored.rows,
            seconds=stored.seconds,
            cpu_seconds=0.0,
            phases={},
            resident_mib=0.0,
            requests=stored.rows,
            p50_ms=stored.mean_ms,
            p99_ms=None,
            database_cpu_seconds=database_cpu,
            sender_cpu_seconds=stored.sender_cpu_seconds,
        )

    def _check(self, prefix: str, answered: int, under_way: int) -> None:
        check_rows(self._clerk.do("count_events", prefix=prefix)["rows"], answered, under_way)

    def _database_cpu_seconds(self) -> float:
        return usage.cpu_seconds(self._postmaster) if self._postmaster else 0.0


def _prefix() -> str:
    return uuid4().hex[:8]
