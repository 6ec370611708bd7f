"""Log records as JSON, one line each, with whatever should never have been in them taken out.

The first net is not to log secrets and personal data at all. This is the second: it sees the finished text of the
message, the traceback and the stack, so it also catches what a library put there.
"""

import json
import logging
import re
from datetime import UTC, datetime

REMOVED = "[removed]"
# Where a request carries the id that its person was told; `convultra.errors` puts it there.
REQUEST_ID = "convultra.request_id"

_SENSITIVE = (
    r"(?:access_?token|refresh_?token|id_?token|client_?secret|client_assertion|developer_?token|authentication_?token"
    r"|code_?verifier|secret_?key|encryption_?keys?|password|passwd|csrfmiddlewaretoken|csrftoken|sessionid|api_?key)\b"
)
_NAMED = rf"({_SENSITIVE}(?:\\?[\"'])?\s*[:=>]\s*)"
_HEADER = r"[\"']?\s*[:=,]\s*(?:b?[\"'])?"
# Text to find, in any case, and what is written in its place; in this order.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # The code and state that Microsoft hands back are worth a sign-in for as long as they live.
        (r"(/callback/?)\?[^\s\"'<>]+", rf"\1?{REMOVED}"),
        # So is the link of an invitation, also where an address names it as the page to go on to.
        (r"(/invite/|%2Finvite%2F)[^\s\"'<>/%&?]+", rf"\1{REMOVED}"),
        (r"([?&](?:code|state)=)[^\s\"'&]{12,}", rf"\1{REMOVED}"),
        (rf"(\bauthorization{_HEADER})(?:(?:bearer|basic)\s+)?[^\s\"',;}}]+", rf"\1{REMOVED}"),
        (r"\b(bearer\s+)[\w.~+/=-]{8,}", rf"\1{REMOVED}"),
        (rf"(\bcookie{_HEADER})[^\r\n\"']+", rf"\1{REMOVED}"),
        # "name": "value" and 'name': 'value', also cut off before the closing quote; name=value; <Name>value</Name>
        (rf"{_NAMED}\\?\"[^\"]*(?:\"|\Z)", rf'\1"{REMOVED}"'),
        (rf"{_NAMED}'[^']*(?:'|\Z)", rf"\1'{REMOVED}'"),
        (rf"{_NAMED}[^\s\"'&,;<>{{}}\[]+", rf"\1{REMOVED}"),
        (r"\bsk_[\w-]{6,}", f"sk_{REMOVED}"),
        (r"\beyJ[\w-]{8,}(?:\.[\w-]+)*", REMOVED),  # a JSON web token
        (r"\bgAAAA[\w=-]{20,}", REMOVED),  # a Fernet token
        (r"[\w.+%-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)+", "[e-mail]"),
        (r"\b[0-9a-f]{64}\b", "[hash]"),  # SHA-256 of an e-mail or phone is personal data still
    )
)


def redact(text: str) -> str:
    """Return `text` without tokens, secrets, e-mail addresses, hashes of people and the OAuth callback's query."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class JsonLines(logging.Formatter):
    """Format a record as one line of JSON: time (UTC), level, logger, message, and exception or stack if it has one.

    A failed request's line has the `request_id` that the error page shows.

    A newline inside a value is written `\\n`, so nobody forges a record by sending one.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if request_id := getattr(getattr(record, "request", None), "META", {}).get(REQUEST_ID):
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[0]:
            line["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redact(record.stack_info)
        return json.dumps(line)
