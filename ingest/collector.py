"""The fast way to the door: an ASGI application in front of Django that answers pages' and backends' posts itself.

Requests that come at the same time are committed together, and each is answered after its commit: while one commit is
under way the next batch gathers, so nobody waits for a timer. One thread commits, with Django's own connection.
Adjustments wait for those of their site that are being stored, so each batch is committed alone, in threads of their
own. Everything that is no post goes on to Django, whose views (`ingest/views.py`) take the same steps; of the API's
questions none is waited for longer than for a post. How fast it is: docs/performance.md.
"""

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from ingest import answers, blocked_origins, door, refused_items, sdk
from ingest.committing import commit
from ingest.door import ADJUSTMENTS, Batch, Route
from ingest.http import Answer, Request
from ingest.keys import Caller, Keyring
from ingest.limits import sender
from ingest.middleware import API_PREFIX
from ingest.storing import be_impatient

logger = logging.getLogger(__name__)

# A sender is told to come again before it loses patience; what is still on its way then may well be stored.
ANSWER_SECONDS = 2.5
IMPATIENCE_SECONDS = 0.25  # between two looks at who has waited for so long
BODY_SECONDS = 10.0
# What may wait for the database in one process: above it senders are asked to come again.
MAX_WAITING_ROWS = 5_000
MAX_WAITING_BYTES = 8 * 1024 * 1024
# After a commit the loop turns so often before the next: who is just arriving, or was just answered, travels along. No
# timer runs, and a lone sender notices nothing; but fewer and larger commits cost each of many a third less.
GATHERING_TURNS = 8
# As many keys are looked up at once, and as many batches of adjustments committed.
LOOKUP_THREADS = 2
TURN_THREADS = 2
# What Django's middleware puts on every other answer, as far as it means something to programs.
SHIELD = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
if settings.SECURE_HSTS_SECONDS:
    SHIELD["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    answer: asyncio.Future[Answer]
    since: float


class Committer:
    """Gathers the batches of concurrent requests and commits them together, in one thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "ingest-commit")
        self._waiting: deque[_Waiting] = deque()
        self._committing: list[_Waiting] = []
        self._rows = self._bytes = 0
        self._flushing: asyncio.Task[None] | None = None
        self._impatience: asyncio.TimerHandle | None = None

    async def commit(self, batch: Batch, waited: float) -> Answer:
        """Return the batch's answer once its rows are committed, or when the database lets us wait too long.

        `waited` is for how many seconds the sender has waited for the database before.
        """
        rows = len(batch.rows)
        if self._rows and (self._rows + rows > MAX_WAITING_ROWS or self._bytes + batch.size > MAX_WAITING_BYTES):
            return answers.unavailable()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(batch, loop.create_future(), loop.time() - waited)
        self._waiting.append(waiting)
        self._rows += rows
        self._bytes += batch.size
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        if self._impatience is None:
            self._impatience = loop.call_later(IMPATIENCE_SECONDS, self._lose_patience)
        return await waiting.answer

    def close(self) -> None:
        """Commit what was handed over, give the connection back and end the thread."""
        with suppress(RuntimeError):  # closed before
            self._thread.submit(_hang_up)
        self._thread.shutdown()

    async def _flush(self) -> None:
        """Commit what waits until nothing does."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                self._committing = list(self._waiting)
                self._waiting.clear()
                told = await loop.run_in_executor(self._thread, _commit, [each.batch for each in self._committing])
                self._rows -= sum(len(each.batch.rows) for each in self._committing)
                self._bytes -= sum(each.batch.size for each in self._committing)
                for each, answer in zip(self._committing, told, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(answer)
                self._committing = []
                for _ in range(GATHERING_TURNS):
                    await asyncio.sleep(0)
        finally:
            self._flushing = None
            if self._impatience is not None:
                self._impatience.cancel()
                self._impatience = None

    def _lose_patience(self) -> None:
        """Answer those who have waited for too long, and look again while anybody waits."""
        self._impatience = None
        loop = asyncio.get_running_loop()
        youngest = loop.time() - ANSWER_SECONDS
        left = False
        for each in (*self._committing, *self._waiting):
            if not each.answer.done():
                if each.since <= youngest:
                    each.answer.set_result(answers.unavailable())
                else:
                    left = True
        if left:
            self._impatience = loop.call_later(IMPATIENCE_SECONDS, self._lose_patience)


def _commit(batches: list[Batch]) -> list[Answer]:
    """Commit in the committer's thread; whatever happens, everybody gets an answer."""
    try:
        be_impatient()
        return commit(batches, timezone.now())
    except (OperationalError, InterfaceError):
        answer = answers.unavailable
    except Exception:
        logger.exception("Nothing of %s requests could be stored.", len(batches))
        answer = answers.failed
    _hang_up()
    return [answer() for _ in batches]  # each its own: CORS headers are added to them


def _commit_and_hang_up(batches: list[Batch]) -> list[Answer]:
    try:
        return _commit(batches)
    finally:
        _hang_up()


def _hang_up() -> None:
    """Give the connection back: the next commit tries another."""
    try:
        connection.close()
    except DatabaseError:
        logger.warning("The connection could not be closed.")


class Collector:
    """The ASGI application: the door for posts and the SDK's file, `application` for all else."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._committer = Committer()
        self._lookups = ThreadPoolExecutor(LOOKUP_THREADS, "ingest-keys")
        self._turns = ThreadPoolExecutor(TURN_THREADS, "ingest-turns")
        self._notes = ThreadPoolExecutor(1, "ingest-notes")
        self._late: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's start and end."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if scope["type"] != "http" or (settings.SECURE_SSL_REDIRECT and scope["scheme"] != "https"):
            return await self._application(scope, receive, send)
        path = scope["path"]
        if path.startswith(sdk.PREFIX):
            return await _send(sdk.serve(_request(scope)), scope, send)
        way = door.route(path)
        if way is None:
            behind = self._within_patience if path.startswith(API_PREFIX) else self._application
            return await behind(scope, receive, send)
        request = _request(scope)
        try:
            answer = await self._answer(request, way, receive)
        except Exception:
            logger.exception("A request to the ingest API failed.")
            answer = door.with_cors(answers.failed(), request, way, None)
        if answer is not None:
            await _send(answer, scope, send)
        return None

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                # What was loaded stays as long as the process. The garbage collector would walk through it again and
                # again while everybody waits: one answer in a hundred took three times as long.
                gc.collect()
                gc.freeze()
            else:
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def close(self) -> None:
        """Commit what waits, end the threads and give their connections back."""
        self._lookups.shutdown()
        self._turns.shutdown()
        self._notes.shutdown()
        self._committer.close()

    async def _answer(self, request: Request, way: Route, receive: Receive) -> Answer | None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            caller = await self._find(*way.key(request))
        except (OperationalError, InterfaceError, TimeoutError):
            return door.with_cors(answers.unavailable(), request, way, None)
        answer = door.greet(request, way, caller)
        if answer is None:
            assert caller is not None
            answer = await self._take(request, way, caller, receive, loop.time() - asked_at)
        elif caller is not None and door.turns_away(request, way, caller):
            origin = request.headers.get("origin", "")
            self._notes.submit(_note, partial(blocked_origins.note, caller.site.site_id, origin, timezone.now()))
        if answer and caller and refused_items.has_news(way, caller, answer, now := timezone.now()):
            self._notes.submit(_note, partial(refused_items.note, way, caller, answer, now))
        return answer and door.with_cors(answer, request, way, caller)

    async def _find(self, keyring: Keyring, key: str) -> Caller | None:
        known = keyring.recall(key)
        if known is not None:
            return known[0]
        # A look-up that has not begun by then is taken out of the queue again.
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(self._lookups, _look_up, keyring, key)

    async def _take(
        self, request: Request, way: Route, caller: Caller, receive: Receive, waited: float
    ) -> Answer | None:
        """Read the body, and store what is in it. None when the sender has hung up meanwhile."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                request.body = await _read_body(receive, way.door.max_bytes)
        except TimeoutError:
            return answers.body_too_slow(BODY_SECONDS)
        except ConnectionResetError:
            return None
        batch = door.take(request, way, caller, timezone.now())
        if isinstance(batch, Answer):
            return batch
        return await (self._take_turn if way.post is ADJUSTMENTS else self._committer.commit)(batch, waited)

    async def _take_turn(self, batch: Batch, waited: float) -> Answer:
        """Commit a batch alone. One that has not begun when its sender loses patience is taken out of the queue."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS - waited):
                [answer] = await asyncio.get_running_loop().run_in_executor(self._turns, _commit_and_hang_up, [batch])
        except TimeoutError:
            return answers.unavailable()
        return answer

    async def _within_patience(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Django answer, or say 503 when it has not begun to while its sender has patience.

        Django is not cut off, so that it gives its connection back whenever the database comes to an end.
        """
        is_late = False
        begins = asyncio.Event()

        async def receive_for_django() -> Mapping[str, Any]:
            message = await receive()
            if is_late:
                await asyncio.Event().wait()  # it would take our answer's end for the sender's
            return message

        async def send_for_django(message: Mapping[str, Any]) -> None:
            begins.set()
            if not is_late:
                await send(message)

        django = asyncio.ensure_future(self._application(scope, receive_for_django, send_for_django))
        waits = asyncio.create_task(begins.wait())
        await asyncio.wait({django, waits}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if django.done() or begins.is_set():
            return await django
        is_late = True
        self._late.add(django)
        django.add_done_callback(self._late.discard)
        await _send(answers.unavailable(), scope, send)
        return None


def _look_up(keyring: Keyring, key: str) -> Caller | None:
    try:
        return keyring.find(key)
    finally:
        _hang_up()


def _note(note: Callable[[], None]) -> None:
    try:
        note()
    finally:
        _hang_up()


def _request(scope: Scope) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    peer = scope["client"][0] if scope.get("client") else ""
    address = sender(peer, headers.get("x-forwarded-for", ""))
    return Request(scope["method"], scope["path"], headers, b"", address)


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    """Return the body, or its first max_bytes and one more. Raises ConnectionResetError when the sender hangs up."""
    pieces: list[bytes] = []
    size = 0
    while size <= max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if not message.get("more_body", False):
            break
    return b"".join(pieces)[: max_bytes + 1]


async def _send(answer: Answer, scope: Scope, send: Send) -> None:
    said = {"Content-Length": str(len(answer.body)), **SHIELD, **answer.headers}
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in said.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
