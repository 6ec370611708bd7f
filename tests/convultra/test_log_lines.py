import json
import logging
import sys
import time

from django.test import SimpleTestCase

from convultra.logging import JsonLines, redact

SECRETS = {
    "Authorization: Bearer abc.DEF-123": "abc.DEF-123",
    "authorization=Basic dXNlcjpwYXNz": "dXNlcjpwYXNz",
    "{'Authorization': 'Bearer abcDEF123456'}": "abcDEF123456",
    "[(b'authorization', b'Bearer abcDEF123456')]": "abcDEF123456",
    "sent with Bearer abcDEF123456 to Microsoft": "abcDEF123456",
    '{"access_token": "EwB4 A8l6/BAA", "expires_in": 3600}': "EwB4 A8l6",
    '"{\\"refresh_token\\": \\"M.C105_x\\"}"': "M.C105_x",
    "{'client_secret': 'a~b.c'}": "a~b.c",
    "grant_type=refresh_token&refresh_token=M.R3_BAY!x*y&client_id=1": "M.R3_BAY",
    "code_verifier=abc_def-ghi": "abc_def-ghi",
    "<AuthenticationToken>eyabc</AuthenticationToken>": "eyabc",
    "<DeveloperToken>BBD37VB98</DeveloperToken>": "BBD37VB98",
    "DeveloperToken: BBD37VB98": "BBD37VB98",
    '{"password": "hunter2': "hunter2",  # cut off before its closing quote
    "Cookie: csrf=1; session=abcdef": "abcdef",
    "{'Set-Cookie': 'session=abcdef; Secure'}": "abcdef",
    "server key sk_Zm9vYmFyYmF6cXV4 revoked": "Zm9vYmFyYmF6cXV4",
    "got eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig": "eyJ",
    "row holds gAAAAABkAbCdEfGhIjKlMnOpQrStUvWxYz0123456789==": "gAAAA",
    "GET /integrations/microsoft/callback/?code=M.C1&state=xyz HTTP/1.1": "M.C1",
    "GET /integrations/microsoft/callback?state=xyz": "xyz",
    "grant_type=authorization_code&code=M.C105_BL2.2.U.abc&x=1": "BL2.2",
    "no such person: alice.b+shop@example.co.uk": "alice",
    "email=alice%40example.com": "alice",
    f"email_sha256 {'0a' * 32}": "0a0a",
}
HARMLESS = (
    "Uploaded 1000 conversions of account 138204417 in 0.42 s, TrackingId 8b6f2d3c-1c9b-4f6e-9d54-ffd1a8a1c001",
    "The token of connection 7 expires at 2026-03-01T12:00:00Z",
    "wk_0123456789abcdef0123456789abcdef sent 3 events",
    "click f894f652ea334e739002f7167ab8f8e3 of goal Purchase",
    "GET /s/1/logs/?status=failed",
    "authorization was refused by Microsoft: AADSTS50173",
)


def record(message: str, *args: object, **kwargs: object) -> logging.LogRecord:
    made = logging.LogRecord("forwarding.tasks", logging.ERROR, __file__, 1, message, args, None)
    made.__dict__.update(kwargs)
    return made


class RedactTests(SimpleTestCase):
    def test_it_removes_every_secret(self) -> None:
        for text, secret in SECRETS.items():
            with self.subTest(text=text):
                self.assertIn(secret, text)
                self.assertNotIn(secret, redact(text))

    def test_it_keeps_what_helps(self) -> None:
        for text in HARMLESS:
            with self.subTest(text=text):
                self.assertEqual(redact(text), text)

    def test_it_keeps_the_words_around_a_secret(self) -> None:
        self.assertEqual(
            redact("POST refresh_token=abc&scope=offline for alice@example.com"),
            "POST refresh_token=[removed]&scope=offline for [e-mail]",
        )

    def test_twice_is_as_good_as_once(self) -> None:
        for text in SECRETS:
            with self.subTest(text=text):
                self.assertEqual(redact(redact(text)), redact(text))


class JsonLinesTests(SimpleTestCase):
    def lines(self, made: logging.LogRecord) -> dict[str, str]:
        text = JsonLines().format(made)
        self.assertEqual(len(text.splitlines()), 1)
        line: dict[str, str] = json.loads(text)
        return line

    def test_a_record_says_when_who_and_what(self) -> None:
        line = self.lines(record("sent %d rows", 3, created=1772366400.25))
        self.assertEqual(
            line,
            {
                "time": "2026-03-01T12:00:00.250+00:00",
                "level": "error",
                "logger": "forwarding.tasks",
                "message": "sent 3 rows",
            },
        )

    def test_arguments_are_redacted_too(self) -> None:
        self.assertEqual(self.lines(record("no %s", "alice@example.com"))["message"], "no [e-mail]")

    def test_nobody_can_forge_a_second_record(self) -> None:
        for newline in ("\n", "\r\n", "\u2028", "\x85"):
            with self.subTest(newline=newline):
                line = self.lines(record("name: %s", f'x{newline}{{"level": "info"}}'))
                self.assertIn(newline, line["message"])

    def test_a_traceback_is_one_redacted_value(self) -> None:
        try:
            raise ValueError('{"access_token": "abc"} of alice@example.com')
        except ValueError:
            line = self.lines(record("it failed", exc_info=sys.exc_info()))
        self.assertIn("Traceback (most recent call last)", line["exception"])
        self.assertIn('ValueError: {"access_token": "[removed]"} of [e-mail]', line["exception"])
        self.assertNotIn("alice@", json.dumps(line))

    def test_a_stack_is_redacted(self) -> None:
        line = self.lines(record("here", stack_info='f(password="hunter2")'))
        self.assertEqual(line["stack"], 'f(password="[removed]")')

    def test_no_text_is_slow_to_redact(self) -> None:
        for text in ("a" * 500_000, "eyJ" * 100_000, "password" * 60_000, "a.b" * 150_000 + "@", "sk_" * 150_000):
            with self.subTest(text=text[:12]):
                started = time.perf_counter()
                redact(text)
                self.assertLess(time.perf_counter() - started, 20)  # a rule that backtracks would take hours
