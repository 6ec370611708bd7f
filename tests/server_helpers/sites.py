"""The sites that the cases run on: one per helper, real programs but for Django, which answers in this process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from threading import Thread
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

import pytest
from django.test import Client, override_settings

from tests.server_helpers.cases import Case

HERE = Path(__file__).parent
HELPERS = HERE.parents[1] / "docs/server-helpers"


class Answer(NamedTuple):
    """What of a response matters here."""

    headers: list[tuple[str, str]]

    def get(self, name: str) -> str:
        """Return a header, its lines joined as HTTP has it; empty where there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    def cookies(self, name: str) -> "list[Morsel[str]]":
        """Return what sets cookies of a name."""
        lines = [SimpleCookie(value) for key, value in self.headers if key.lower() == "set-cookie"]
        return [line[name] for line in lines if name in line]


class Site(Protocol):
    """Something that answers a case."""

    def __call__(self, case: Case) -> Answer: ...


@contextmanager
def django_settings() -> Iterator[None]:
    """Make Django a small site whose only middleware is the helper."""
    middleware, urls = ["convultra_cookie.KeepConvultraCookie"], "tests.server_helpers.pages"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HELPERS)
        with override_settings(MIDDLEWARE=middleware, ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"]):
            yield


def django_site(case: Case) -> Answer:
    """Answer through Django's test client, the helper being the only middleware."""
    query = {"type": case.content_type, "caching": case.caching, "own": case.own}
    meta = {"HTTP_COOKIE": case.cookie, "HTTP_HOST": case.host}
    if case.https == "proxy":
        meta["HTTP_X_FORWARDED_PROTO"] = "https"
    with override_settings(CONVULTRA_COOKIE_DOMAIN=case.domain):
        response = Client().get("/", query, secure=case.https == "tls", **meta)  # type: ignore[arg-type]
    lines = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    return Answer([*response.items(), *lines])


class LoopbackSite:
    """A server on loopback, asked over HTTP."""

    def __init__(self, port: int, **query: str) -> None:
        self.port = port
        self.query = query

    def __call__(self, case: Case) -> Answer:
        """Ask for the page; what no client may send as a header travels in the query, and the site puts it in place."""
        query = {"type": case.content_type, "caching": case.caching, "own": case.own, "domain": case.domain}
        sendable = case.cookie.isascii() and case.cookie.isprintable() and case.cookie == case.cookie.strip()
        if not sendable:
            query["cookie"] = case.cookie
        if case.https == "tls":
            query["tls"] = "1"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest("GET", f"/?{urlencode(query | self.query)}", skip_host=True)
        connection.putheader("Host", case.host)
        if sendable and case.cookie:
            connection.putheader("Cookie", case.cookie)
        if case.https == "proxy":
            connection.putheader("X-Forwarded-Proto", "https")
        connection.endheaders()
        with connection.getresponse() as response:
            assert response.status == 200, response.read()
            headers = response.getheaders()
        connection.close()
        return Answer(headers)


@contextmanager
def node_site(kind: str) -> Iterator[LoopbackSite]:
    """Run the site under `express` or under node's own `http`."""
    needs("node", shutil.which("node"))
    if kind == "express":
        needs("express (make installs it)", (HERE / "node_modules/express").exists())
    with subprocess.Popen(["node", HERE / "shop.js", kind], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield LoopbackSite(int(process.stdout.readline()))
        finally:
            process.terminate()


@contextmanager
def php_site(**query: str) -> Iterator[Site]:
    """Run the site under PHP's own server."""
    needs("php", shutil.which("php"))
    # PHP chooses the port and says it: "... Development Server (http://127.0.0.1:43210) started".
    command = ["php", "-d", "display_errors=1", "-S", "127.0.0.1:0", str(HERE / "shop.php")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr
            started = next(line for line in process.stderr if "started" in line)
            Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
            yield LoopbackSite(int(started.split("127.0.0.1:")[1].split(")")[0]), **query)
        finally:
            process.terminate()


def needs(what: str, found: object) -> None:
    """Skip a test without the program it runs on, but let it fail where nothing may be skipped."""
    if not found and os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    if not found:
        pytest.skip(f"{what} is missing")
