"""The browser SDK as pages load it, under `/sdk/`: exact versions for ever, and version 1 as it is today.

A file is read once, and again when it was written anew; what stands in memory is sent.
"""

import gzip
import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from ingest.http import Answer, Request

PREFIX = "/sdk/"
CURRENT = "convultra.v1.js"
# Names that stand for the newest version: a mend reaches every page within this time.
MOVING = (CURRENT, "convultra.js")
MOVING_CACHE = "public, max-age=300"
EXACT_CACHE = "public, max-age=31536000, immutable"

_EXACT = re.compile(r"convultra\.v([0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6})\.js")
_EVERY_ANSWER = {
    "Content-Type": "text/javascript; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    # Any page may load it, also one that asks with `crossorigin` or isolates itself.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@dataclass(frozen=True, slots=True)
class Script:
    """A file of the SDK as it is sent, plain and compressed."""

    written_at: int  # the file's mtime in nanoseconds
    plain: bytes
    gzipped: bytes
    digest: str
    integrity: str  # for the attribute of that name: `sha384-…`


# By path. Only files that exist get in, so strangers cannot make it grow.
_scripts: dict[Path, Script] = {}


def serve(request: Request) -> Answer:
    """Answer a request under `/sdk/`: 200, 304 to who has it, 404 for any other name, 405 for any other method.

    An answer to HEAD has no body, and names the length that the body would have.
    """
    if request.method not in ("GET", "HEAD"):
        return _refusal(405, "This address takes GET and HEAD.", {"Allow": "GET, HEAD"})
    name = request.path.removeprefix(PREFIX)
    path = _path(name)
    script = _read(path) if path is not None else None
    if script is None:
        return _refusal(404, "There is no such version.", {"Cache-Control": "no-store"})
    compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
    headers = {
        **_EVERY_ANSWER,
        "Cache-Control": MOVING_CACHE if name in MOVING else EXACT_CACHE,
        "Vary": "Accept-Encoding",
        "ETag": f'"{script.digest}-gzip"' if compressed else f'"{script.digest}"',
    }
    if _has(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Answer(304, headers=headers)
    body = script.gzipped if compressed else script.plain
    if compressed:
        headers["Content-Encoding"] = "gzip"
    if request.method == "HEAD":
        return Answer(200, headers=headers | {"Content-Length": str(len(body))})
    return Answer(200, body, headers)


def current() -> Script | None:
    """Return what pages load under the moving names; None when the file is away."""
    return _read(_folder() / CURRENT)


def newest_version() -> str | None:
    """Return the newest exact version that is kept, such as `1.0.0`; None while there is none."""
    names = [_EXACT.fullmatch(path.name) for path in (_folder() / "versions").glob("convultra.v*.js")]
    versions = [name[1] for name in names if name]
    return max(versions, key=lambda version: [int(part) for part in version.split(".")], default=None)


def integrity(version: str) -> str:
    """Return the `sha384-…` of an exact version, for the script tag's attribute of this name.

    Raises LookupError when the version is not kept. Source: Subresource Integrity, section 3.5.
    """
    path = _path(f"convultra.v{version}.js")
    script = _read(path) if path is not None else None
    if script is None:
        raise LookupError(f"There is no version {version!r} of the SDK.")
    return script.integrity


def _folder() -> Path:
    return Path(settings.BASE_DIR, "static", "sdk")


def _path(name: str) -> Path | None:
    if name in MOVING:
        return _folder() / CURRENT
    return _folder() / "versions" / name if _EXACT.fullmatch(name) else None


def _read(path: Path) -> Script | None:
    try:
        written_at = path.stat().st_mtime_ns
        known = _scripts.get(path)
        if known is not None and known.written_at == written_at:
            return known
        plain = path.read_bytes()
    except FileNotFoundError:
        return None
    script = Script(
        written_at,
        plain,
        gzip.compress(plain, 9, mtime=0),  # without a time in it, every process sends the same bytes
        hashlib.sha256(plain).hexdigest()[:32],
        f"sha384-{b64encode(hashlib.sha384(plain).digest()).decode()}",
    )
    _scripts[path] = script
    return script


def _refusal(status: int, why: str, headers: dict[str, str]) -> Answer:
    return Answer(status, why.encode(), {**_EVERY_ANSWER, "Content-Type": "text/plain; charset=utf-8", **headers})


def _takes_gzip(accepted: str) -> bool:
    """Read Accept-Encoding: what names gzip decides, else what it says of everything (RFC 9110, section 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        weights[coding.strip()] = re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameters) is None
    return weights.get("gzip", weights.get("*", False))


def _has(known: str, etag: str) -> bool:
    """Read If-None-Match; a proxy that compresses marks our tags as weak."""
    return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]
