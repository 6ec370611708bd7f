"""The ceiling on PostgreSQL: pgbench stores the same rows in the same table, one in a statement, one in a commit."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench import tools, usage
from tests.bench.frame import VoidRunError

CONNECTIONS = 32
SPARE_SECONDS = 30
# What the door stores of an event of `load.lua`, column by column. `run` and `site` are given, `n` counts per client.
# A colon before a word is a variable of pgbench's, in strings too.
SCRIPT = """\
\\set n :n + 1
\\set one random(1000000000, 9999999999)
\\set other random(1000000000, 9999999999)
INSERT INTO ingest_event (
    site_id, event_id, name, occurred_at, received_at, source, value, currency, transaction_id, external_id,
    visitor_id, session_id, msclkid, email_sha256, phone_sha256, consent, properties, fingerprint, created_at
) VALUES (
    :site, :run::text || '-' || :client_id::text || '-' || :n::text || '-4c5d-9e6f-0a1b2c3d4e5f', 'purchase',
    now() - interval '1 minute', now(), 'browser', 79.90, 'EUR',
    'HP-' || :run::text || :client_id::text || '-' || :n::text, '',
    :one::text || 'ffee7ab8f8e3', :other::text || 'ffee7ab8f8e3', :one::text || 'ea334e739002f7167ab8f8',
    :one::text || '739002f7167ab8f8e3f894f652ea339d1c5b2e7f60a84b1c3d5e6f',
    :other::text || '739002f7167ab8f8e3f894f652ea339d1c5b2e7f60a84b1c3d5e6f', 'granted',
    '{"items": 2, "category": "lamps", "coupon": "WELCOME10", "shipping": "express", "new_customer": true}',
    :other::text || '9002f7167ab8f8e3f894f652ea339d1c5b2e7f60a84b1c3d5e6f73', now()
) ON CONFLICT DO NOTHING;
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """How many rows it stored in so many seconds, how long one took on average, and what pgbench itself used."""

    rows: int
    seconds: float
    mean_ms: float
    sender_cpu_seconds: float


def store(database_url: str, site_id: int, prefix: str, *, seconds: int, connections: int = CONNECTIONS) -> Stored:
    """Store rows for so many seconds, their ids beginning with `prefix`. Raises VoidRunError, MissingToolError."""
    with tempfile.TemporaryDirectory(prefix="convultra-pgbench-") as home:
        script = Path(home) / "store.sql"
        script.write_text(SCRIPT)
        command = [tools.pgbench(), "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(seconds)]
        command += ["-D", f"run={prefix}", "-D", f"site={site_id}", "-D", "n=0", "-f", str(script), database_url]
        before = usage.ended_cpu_seconds()
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + SPARE_SECONDS)
    if ended.returncode:
        raise VoidRunError(f"pgbench ended with {ended.returncode}: {ended.stderr[:500]}")
    return _read(ended.stdout, usage.ended_cpu_seconds() - before)


def _read(output: str, sender_cpu_seconds: float) -> Stored:
    rows = int(_find(r"number of transactions actually processed: (\d+)", output))
    rate = float(_find(r"tps = ([\d.]+)", output))
    return Stored(rows, rows / rate, float(_find(r"latency average = ([\d.]+) ms", output)), sender_cpu_seconds)


def _find(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        raise VoidRunError(f"pgbench said nothing of this: {pattern}\n{output[-500:]}")
    return found[1]
