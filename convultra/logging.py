"""Log records as JSON, one line each, with whatever should never have been in them taken out.

The first net is not to log secrets and personal data at all. This is the second: it sees the finished text of the
message, the traceback and the stack, so it also catches what a library put there.
"""

import json
import logging
import re
from datetime import UTC, datetime

REMOVED = "[removed]"

_SENSITIVE = (
    r"access_?token|refresh_?token|id_?token|client_?secret|client_assertion|developer_?token|authentication_?token"
    r"|code_?verifier|secret_?key|encryption_?keys?|password|passwd|cookie|set-cookie|csrfmiddlewaretoken|csrftoken"
    r"|sessionid|api_?key"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # The code and state that Microsoft hands back are worth a sign-in for as long as they live.
    (re.compile(r"(/callback/?)\?[^\s\"'<>]+", re.IGNORECASE), rf"\1?{REMOVED}"),
    (
        re.compile(r"(\bauthorization[\"']?\s*[:=,]\s*b?[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;}]+", re.IGNORECASE),
        rf"\1{REMOVED}",
    ),
    (re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{REMOVED}"),
    # name=value, name: value, 'name': 'value', "name": "value", <Name>value</Name>
    (
        re.compile(rf"((?:{_SENSITIVE})\b(?:\\?[\"'])?\s*[:=>]\s*)\\?\"[^\"]*(?:\"|\Z)", re.IGNORECASE),
        rf'\1"{REMOVED}"',
    ),
    (re.compile(rf"((?:{_SENSITIVE})\b(?:\\?[\"'])?\s*[:=>]\s*)'[^']*(?:'|\Z)", re.IGNORECASE), rf"\1'{REMOVED}'"),
    (re.compile(rf"((?:{_SENSITIVE})\b\s*[:=>]\s*)[^\s\"'&,;<>{{}}\[]+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"\bsk_[\w-]{6,}"), f"sk_{REMOVED}"),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"), REMOVED),  # a JSON web token
    (re.compile(r"\bgAAAA[\w=-]{20,}"), REMOVED),  # a Fernet token
    (re.compile(r"[\w.+%-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
    (re.compile(r"\b[0-9a-f]{64}\b", re.IGNORECASE), "[hash]"),  # SHA-256 of an e-mail or phone is personal data still
)


def redact(text: str) -> str:
    """Return `text` without tokens, secrets, e-mail addresses, hashes of people and the OAuth callback's query."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class JsonLines(logging.Formatter):
    """Format a record as one line of JSON: time (UTC), level, logger, message, and exception or stack if it has one.

    A newline inside a value is written `\\n`, so nobody forges a record by sending one.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redact(record.stack_info)
        return json.dumps(line)
