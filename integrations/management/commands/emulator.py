"""Serves a local Microsoft for development, the demo and benchmarks."""

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from integrations.microsoft_ads.emulator.app import now_utc
from integrations.microsoft_ads.emulator.books import Books, Settings
from integrations.microsoft_ads.emulator.journal import DamagedJournalError, open_books
from integrations.microsoft_ads.emulator.server import Server, bind, is_loopback
from integrations.microsoft_ads.emulator.wire import is_address
from integrations.microsoft_ads.emulator.world import demo_books


class Command(BaseCommand):
    """Serve the emulator until it is stopped."""

    help = "Serve a local Microsoft Advertising: sign-in, API, a ledger and faults. For this machine only."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        defaults = Settings()
        parser.add_argument("--port", type=int, default=9201)
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
        parser.add_argument(
            "--state", type=Path, help="a file that keeps grants, goals, bookings and clicks across restarts"
        )
        parser.add_argument("--goal-settle-seconds", type=int, default=int(defaults.goal_settle.total_seconds()))
        parser.add_argument(
            "--adjustment-settle-seconds", type=int, default=int(defaults.adjustment_settle.total_seconds())
        )
        parser.add_argument("--landing-url", default=defaults.landing_url, help="where the ads of the search page lead")

    def handle(
        self,
        *_args: object,
        port: int,
        host: str,
        state: Path | None,
        goal_settle_seconds: int,
        adjustment_settle_seconds: int,
        landing_url: str,
        **_options: object,
    ) -> None:
        if not is_loopback(host):
            raise CommandError(
                f"{host} is not a loopback address. The emulator takes anybody's word and serves this machine only."
            )
        if not is_address(landing_url):
            raise CommandError(f"--landing-url must be an http or https address, not {landing_url}.")
        if min(goal_settle_seconds, adjustment_settle_seconds) < 0:
            raise CommandError("Settle times are seconds from 0.")
        settings = Settings(
            goal_settle=timedelta(seconds=goal_settle_seconds),
            adjustment_settle=timedelta(seconds=adjustment_settle_seconds),
            landing_url=landing_url,
        )
        self._serve(host, port, state, settings)

    def _serve(self, host: str, port: int, state: Path | None, settings: Settings) -> None:
        try:
            bound = bind(host, port)
        except (OSError, OverflowError) as error:
            raise CommandError(f"Port {port} on {host} cannot be used: {error}. Choose another with --port.") from error
        with bound:
            # After the port: two emulators must not write one file.
            books = self._open(state, settings)
            server = Server(books, bound)
            address = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
            self.stdout.write(f"Microsoft Advertising emulator on {address} (local, not Microsoft).")
            self.stdout.write(f"Ledger: {address}/_emulator/ledger")
            self.stdout.write(f"Search page with an ad: {address}/_emulator/search?q=garden+bench")
            self.stdout.flush()
            server.run_until_signalled()
            books.close()

    def _open(self, state: Path | None, settings: Settings) -> Books:
        if state is None:
            return demo_books(now_utc(), settings)
        try:
            return open_books(state, now_utc(), settings)
        except (DamagedJournalError, OSError) as error:
            raise CommandError(f"The state file cannot be used: {error}") from error
