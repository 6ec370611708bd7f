import os
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from convultra.encryption import why_unreadable

KEEP_ALIVE_SECONDS = 30
SHUTDOWN_SECONDS = 10
POOL_SIZE = "8"


class Command(BaseCommand):
    """The production server, and the demo's: uvicorn with uvloop and httptools."""

    help = "Serve pages and the ingest API. TLS and body deadlines are the proxy's work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument(
            "--workers", type=int, default=None, help="default: 2, and 1 on SQLite, which has one writer"
        )

    def handle(self, *, port: int, host: str, workers: int | None, **_options: Any) -> None:
        if why := why_unreadable():
            raise CommandError(why)
        is_sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
        if not is_sqlite:
            os.environ.setdefault("DATABASE_POOL_SIZE", POOL_SIZE)  # read by the processes that uvicorn starts
        uvicorn.run(
            "convultra.asgi:application",
            host=host,
            port=port,
            workers=workers or (1 if is_sqlite else 2),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            log_config=None,
        )
