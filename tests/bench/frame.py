"""How a figure is taken: by turns, in rounds, as a ratio to something else of the same round.

Absolute numbers swing with the machine and whoever else uses it; two numbers taken right after each other swing
together. So every round runs everything once, each ratio is taken inside a round, and what counts is the median of
those ratios. It is never the ratio of two medians, which may come from different rounds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

QUIET_IDLE = 0.90  # below this, somebody else was at work before the run began
IDLE_SAMPLE_SECONDS = 0.5
MOST_GROWTH_MIB = 10


class VoidRunError(Exception):
    """A run whose rows do not add up. It measured nothing, whatever its clock says."""


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: how many rows in how many seconds, and what else is worth printing of it.

    `phases` are milliseconds per 1,000 rows by name. `growth_mib` is what the process held more after all rows than
    after the first tenth of them; None where a run does not tell.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    phases: Mapping[str, float]
    resident_mib: float
    growth_mib: float | None = None

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """What one row costs its worker in processor time."""
        return self.cpu_seconds / self.rows * 1e6


RunT_co = TypeVar("RunT_co", bound=Run, covariant=True)


@dataclass(frozen=True, slots=True)
class Round(Generic[RunT_co]):
    """Every run of a case once, one right after the other, and how idle the machine was before them (0 to 1)."""

    idle: float
    runs: Mapping[str, RunT_co]

    @property
    def is_busy(self) -> bool:
        """Say whether its absolute numbers are worth little."""
        return self.idle < QUIET_IDLE


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure: the rate of one run over that of another, and what it should be at least."""

    of: str
    to: str
    goal: float | None = None

    def per_round(self, rounds: Sequence[Round[Run]]) -> list[float]:
        """Return the ratio of each round, in order."""
        return [taken.runs[self.of].rate / taken.runs[self.to].rate for taken in rounds]

    def median(self, rounds: Sequence[Round[Run]]) -> float:
        """Return the median of the ratios per round."""
        return median(self.per_round(rounds))


def take_rounds(
    runs: Mapping[str, Callable[[], RunT_co]], count: int, said: Callable[[str], object]
) -> list[Round[RunT_co]]:
    """Run everything by turns, `count` times; say each round as it ends. Raises VoidRunError."""
    rounds = []
    for number in range(1, count + 1):
        idle = idle_share(IDLE_SAMPLE_SECONDS)
        taken = Round(idle, {name: run() for name, run in runs.items()})
        rounds.append(taken)
        rates = "   ".join(f"{name} {run.rate:,.0f}/s" for name, run in taken.runs.items())
        busy = f"  (busy: the machine was {idle:.0%} idle)" if taken.is_busy else ""
        said(f"  round {number}: {rates}{busy}")
    return rounds


def report(rounds: Sequence[Round[Run]], ratios: Sequence[Ratio]) -> list[str]:
    """Return the lines that sum up a case: each ratio with all its values, then the cost of each run, then memory."""
    lines = ratio_lines(rounds, ratios)
    for name in rounds[0].runs:
        runs = [taken.runs[name] for taken in rounds]
        phases = ", ".join(f"{phase} {median(run.phases[phase] for run in runs):.1f}" for phase in runs[0].phases)
        split = f"; ms per 1,000: {phases}" if phases else ""
        cpu = median(run.cpu_microseconds for run in runs)
        lines.append(f"  {name}: {cpu:.0f} µs of CPU a row, {max(run.resident_mib for run in runs):.0f} MiB{split}")
    return lines + _memory(rounds) + busy_lines(rounds)


def ratio_lines(rounds: Sequence[Round[Run]], ratios: Sequence[Ratio]) -> list[str]:
    """Return a line per ratio: the median, all values, and the goal where it has one."""
    lines = []
    for ratio in ratios:
        values = " ".join(f"{value:.3f}" for value in ratio.per_round(rounds))
        goal = "" if ratio.goal is None else against(ratio.median(rounds) >= ratio.goal, f"at least {ratio.goal:.2f}")
        lines.append(f"  {ratio.of} : {ratio.to} = {ratio.median(rounds):.3f}   ({values}){goal}")
    return lines


def busy_lines(rounds: Sequence[Round[Run]]) -> list[str]:
    """Return a line that says so when somebody else was at work."""
    is_busy = any(taken.is_busy for taken in rounds)
    return ["  The machine was busy: keep the ratios, forget the absolute numbers."] if is_busy else []


def against(is_met: bool, goal: str) -> str:
    """Return the end of a figure's line: what it should be, and whether it is."""
    return f"   goal: {goal}, {'met' if is_met else 'MISSED'}"


def _memory(rounds: Sequence[Round[Run]]) -> list[str]:
    lines = []
    for name in rounds[0].runs:
        growths = [growth for taken in rounds if (growth := taken.runs[name].growth_mib) is not None]
        if growths:
            goal = against(max(growths) <= MOST_GROWTH_MIB, f"at most {MOST_GROWTH_MIB}")
            values = " ".join(f"{growth:+.1f}" for growth in growths)
            lines.append(f"  memory of {name}, MiB from a tenth of the rows to all: {values}{goal}")
    return lines


def idle_share(seconds: float) -> float:
    """Return which share of the processors' time was idle during the next `seconds`; 1 where /proc does not tell."""
    before = _processor_ticks()
    time.sleep(seconds)
    after = _processor_ticks()
    passed = sum(after) - sum(before)
    return (after[3] - before[3]) / passed if passed else 1.0


def _processor_ticks() -> list[int]:
    """Read user, nice, system, idle, … since the start of the machine (man 5 proc)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return [0] * 4
    return [int(ticks) for ticks in stat.read_text().splitlines()[0].split()[1:]]
