"""Requests to the collector as an ASGI server hands them over, without a server."""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.test import TransactionTestCase

from ingest.collector import Collector
from ingest.models import ServerKey, Site
from tests.cast import make_site, make_user
from tests.ingest.calls import ORIGIN

Result = TypeVar("Result")


class Told:
    """What the collector answered."""

    def __init__(self, messages: list[Mapping[str, Any]]) -> None:
        start, *rest = messages
        self.status: int = start["status"]
        self.headers = {name.decode().title(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message.get("body", b"") for message in rest)

    def json(self) -> Any:
        """Return the body, read."""
        return json.loads(self.body)


class CollectorTestCase(TransactionTestCase):
    """A site with its keys, and a collector in front of an application that only says that it was asked."""

    site: Site
    secret: str

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        _, self.secret = ServerKey.objects.mint(self.site)
        self.collector = Collector(_behind)
        self.addCleanup(self.collector.close)

    def run_all(self, *requests: Coroutine[Any, Any, Result]) -> list[Result]:
        """Make requests at the same time; return what each was told."""

        async def together() -> list[Result]:
            return list(await asyncio.gather(*requests))

        # On a thread of its own: a browser test that ran before leaves its event loop running on this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, together()).result()

    async def post(self, path: str, body: object, *pieces: bytes, **headers: str) -> Told:
        """Post a body, as it is when it is bytes; `pieces` follow it in messages of their own."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, [raw, *pieces], **headers)

    async def from_page(self, what: str, body: object, **headers: str) -> Told:
        """Post `events` or `clicks` with the write key."""
        given = {"origin": ORIGIN, "content-type": "text/plain"} | headers
        return await self.post(f"/v1/{self.site.write_key}/{what}", body, **given)

    async def ask(self, method: str, path: str, pieces: list[bytes], **headers: str) -> Told:
        """Make a request of any kind."""
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 50_000),
        }
        coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        coming[-1]["more_body"] = False
        told: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            return coming.pop(0)

        async def send(message: Mapping[str, Any]) -> None:
            told.append(message)

        await self.collector(scope, receive, send)
        return Told(told)


async def _behind(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})
