"""What a run is made of: how long, how much, how often, and the product's settings for it."""

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.fernet import Fernet

from integrations.microsoft_ads.emulator.books import CLIENT_ID, CLIENT_SECRET, DEVELOPER_TOKEN

EVERY_SECONDS, QUICK_EVERY_SECONDS = (5.0, 20.0), (2.0, 4.0)
# Uploads that pass between two faults: one in ten meets one, and in a quick run one in four, but no retry another.
PASSES, QUICK_PASSES = (3, 13), (2, 4)
WORKERS = 2  # processes that send, in each of the two workers
# Waits that make ten minutes enough.
WAITS = {
    "CLICK_SETTLE_SECONDS": "0",
    "GOAL_SETTLE_SECONDS": "0",
    "ADJUSTMENT_SETTLE_SECONDS": "3",
    "UPLOAD_LINGER_SECONDS": "1",
    "SWEEP_SECONDS": "1",
    "THROTTLE_SECONDS": "1",
    "RETRY_LADDER_SECONDS": "1,1,2,2,3",
}
# How soon a call, a lease and a cluster that does not come back are given up: quickly, and as they ship.
QUICK_MACHINERY = {"UPLOAD_TIMEOUT_SECONDS": "4", "LEASE_SECONDS": "8", "WATCHDOG_SECONDS": "20"}
SHIPPED_MACHINERY = {"UPLOAD_TIMEOUT_SECONDS": "60", "LEASE_SECONDS": "180", "WATCHDOG_SECONDS": "90"}
# Less than ADJUSTMENT_SETTLE_SECONDS: Microsoft loses a correction that comes before its conversion was processed.
EMULATOR_SETTLE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a run. `environment` is the product's.

    `every_seconds` lie between hits, and `passes` uploads between faults. It may take `rest_seconds` after the last
    trouble until nothing is under way any more.
    """

    seconds: float
    rate: float
    seed: int
    every_seconds: tuple[float, float]
    passes: tuple[int, int]
    environment: Mapping[str, str]
    web_port: int
    emulator_port: int
    redis_port: int | None
    rest_seconds: float

    @property
    def timeout_seconds(self) -> float:
        """How long the product waits for Microsoft's answer."""
        return float(self.environment["UPLOAD_TIMEOUT_SECONDS"])

    @property
    def lease_seconds(self) -> float:
        """How long an upload belongs to its worker."""
        return float(self.environment["LEASE_SECONDS"])


def make_plan(
    database_url: str, seconds: float, rate: float, seed: int, *, is_quick: bool, has_redis: bool, is_shipped: bool
) -> Plan:
    """Return a plan on free ports, with throw-away secrets."""
    web, emulator, redis = _free_ports(3)
    machinery = SHIPPED_MACHINERY if is_shipped else QUICK_MACHINERY
    microsoft = f"http://127.0.0.1:{emulator}"
    environment = {
        "DJANGO_SETTINGS_MODULE": "convultra.settings",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "PUBLIC_URL": f"http://127.0.0.1:{web}",
        "DATABASE_URL": database_url,
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0" if has_redis else "",
        "WORKERS": str(WORKERS),
        "MICROSOFT_CLIENT_ID": CLIENT_ID,
        "MICROSOFT_CLIENT_SECRET": CLIENT_SECRET,
        "MICROSOFT_DEVELOPER_TOKEN": DEVELOPER_TOKEN,
        **{f"MICROSOFT_{name}_URL": microsoft for name in ("LOGIN", "CAMPAIGN", "CUSTOMER")},
        "LOG_LEVEL": "WARNING",
        **WAITS,
        **machinery,
    }
    return Plan(
        seconds=seconds,
        rate=rate,
        seed=seed,
        every_seconds=QUICK_EVERY_SECONDS if is_quick else EVERY_SECONDS,
        passes=QUICK_PASSES if is_quick else PASSES,
        environment=environment,
        web_port=web,
        emulator_port=emulator,
        redis_port=redis if has_redis else None,
        rest_seconds=120 + 2 * float(machinery["LEASE_SECONDS"]) + float(machinery["WATCHDOG_SECONDS"]),
    )


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
