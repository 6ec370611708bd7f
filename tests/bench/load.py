"""Load on a door: wrk keeps so many connections busy with purchases that nobody sent before (`load.lua`)."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench import tools, usage
from tests.bench.frame import VoidRunError

SCRIPT = Path(__file__).with_suffix(".lua")
# An answer that takes longer counts as none.
TIMEOUT_SECONDS = 10
SPARE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answered:
    """How a door answered: requests that got a 2xx in so many seconds, half and all but one in a hundred within …

    `sender_cpu_seconds` is what wrk took of the same processors.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    sender_cpu_seconds: float


def send(address: str, prefix: str, *, events: int, connections: int, seconds: int) -> Answered:
    """Send requests of so many events, whose ids begin with `prefix`, for so many seconds.

    Raises VoidRunError when anything but a 2xx came back, and MissingToolError.
    """
    command = [tools.wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    command += ["-s", str(SCRIPT), address, "--", prefix, str(events)]
    before = usage.ended_cpu_seconds()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + SPARE_SECONDS)
    if ended.returncode:
        raise VoidRunError(f"wrk ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    return read_answers(ended.stdout, usage.ended_cpu_seconds() - before)


def read_answers(output: str, sender_cpu_seconds: float) -> Answered:
    """Read the line of `done`. Raises VoidRunError for requests that were refused or got no answer."""
    told = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    if told["refused"] or told["broken"]:
        raise VoidRunError(f"{told['refused']} of {told['requests']} requests were refused, {told['broken']} broke off")
    return Answered(
        told["requests"], told["microseconds"] / 1e6, told["p50"] / 1e3, told["p99"] / 1e3, sender_cpu_seconds
    )
