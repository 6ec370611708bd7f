"""What a page shows of a test conversion: its checks, what came of it, and what to do. No HTML here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from dashboard import wording
from dashboard.frame import account_url, url_or_nothing
from dashboard.guards import CONNECT, MAP, may, role_names
from dashboard.logs.story import MAX_ANSWER_CHARS, request_of
from forwarding.errors import TEST_STOPPED, Words, explain
from forwarding.models import WAITING, Delivery, Kind, Operation, Status, TestConversion
from forwarding.test_center import doctor
from forwarding.test_center.doctor import Help, State
from forwarding.test_center.sending import goal_name_of
from ingest.models import Role, Site
from integrations.models import AdAccount

RECENT = 10
SEND_AGAIN = "Send the test again."
MICROSOFT_ADVERTISING = "https://ads.microsoft.com/"
# When a page says that nobody has come to the test yet.
LATE = timedelta(seconds=20)


@dataclass(frozen=True)
class Fix:
    """A button beside what is wrong. `needed` are the roles it takes where this person has none of them."""

    label: str
    href: str
    is_dialog: bool = False
    needed: str = ""
    is_elsewhere: bool = False


@dataclass(frozen=True)
class Line:
    """A check as it is drawn; `state` is also the look. `left` is the time that it lasts, "" once it is over."""

    title: str
    state: str
    note: str = ""
    text: str = ""
    until: datetime | None = None
    left: str = ""
    fix: Fix | None = None


@dataclass(frozen=True)
class Result:
    """What came of a test: `look` is ok, bad or wait; `title` and `text` say it, `steps` what to do about it."""

    look: str
    title: str
    text: str
    goal: str
    lines: list[Line]
    steps: list[str]
    fixes: list[Fix]
    answer: str
    answer_title: str
    answer_json: str
    request_json: str

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will come of it."""
        return self.look != "wait"


@dataclass(frozen=True)
class Cleaning:
    """What became of taking a test back: a sentence, or a badge; `at` is when the retraction goes out."""

    words: str = ""
    at: datetime | None = None
    status: str = ""


@dataclass(frozen=True)
class RecentTest:
    """A line of the table of recent tests."""

    test: TestConversion
    goal: str
    status: str
    code: str
    cleaning: Cleaning


def tests_of(accounts: Sequence[AdAccount]) -> list[RecentTest]:
    """Return the newest tests of accounts, in two queries."""
    tests = TestConversion.objects.filter(account__in=accounts).select_related("delivery", "event")
    found = list(tests.order_by("-created_at")[:RECENT])
    retractions = retractions_of([test.delivery_id for test in found if test.delivery_id])
    return [_recent(test, retractions.get(test.delivery_id or 0)) for test in found]


def retractions_of(delivery_ids: Iterable[int]) -> dict[int, Delivery]:
    """Return what takes tests back, by the test's delivery."""
    rows = Delivery.objects.filter(original__in=list(delivery_ids), kind=Kind.RETRACT).order_by("pk")
    return {row.original_id: row for row in rows if row.original_id is not None}


def _recent(test: TestConversion, retraction: Delivery | None) -> RecentTest:
    delivery = test.delivery
    name = goal_name_of(test)
    if delivery is None:
        return RecentTest(test, name, Status.PENDING, "", Cleaning())
    code = str(delivery.error_code) if delivery.error_code is not None else ""
    return RecentTest(test, name, delivery.status, code, cleaning_of(test, delivery, retraction))


def cleaning_of(test: TestConversion, delivery: Delivery, retraction: Delivery | None) -> Cleaning:
    """Say what becomes of a test at Microsoft after it was counted."""
    if delivery.retracted_at is not None:
        return Cleaning(status="retracted")
    if retraction is not None and retraction.status in WAITING:
        return Cleaning("Retracts", at=retraction.next_attempt_at)
    if retraction is not None and retraction.status == Status.FAILED:
        return Cleaning("Retract failed: open it in Forward Logs")
    if delivery.status == Status.DELIVERED and not test.retract_after:
        return Cleaning("Counts: it was not to be retracted")
    return Cleaning("" if delivery.status in WAITING else "Nothing to retract")


def result_of(test: TestConversion, site: Site, role: Role, now: datetime) -> Result:
    """Return what is known of a test so far. Reads `test.account` and its connection, `delivery` with its goal."""
    account, delivery = test.account, test.delivery
    lines = [_line(each, test, site, role, now) for each in test.checks]
    reached = [doctor.Check(line.title, State(line.state)) for line in lines]
    lines += [Line(check.title, State.WAIT) for check in doctor.unreached(reached)]
    is_bad = any(line.state == State.BAD for line in lines)
    lines.append(_accepted(delivery))
    if delivery is None or delivery.status in WAITING:
        return _waiting(test, lines, now)
    delivery.account = account
    words = explain(delivery)
    title, text = _headline(account, delivery, words, lines)
    bad = next((line for line in lines if line.state == State.BAD and line.text), None)
    is_good = delivery.status == Status.DELIVERED and not is_bad
    return Result(
        look="ok" if is_good else "bad",
        title=title,
        text=text,
        goal=delivery.goal_name,
        lines=lines,
        steps=[] if is_good else _steps(bad, words),
        fixes=_fixes(bad, words, site, account),
        answer=_answer(delivery),
        answer_title=_answer_title(delivery),
        answer_json=_answer_json(delivery),
        request_json=request_of(delivery),
    )


def _steps(bad: Line | None, words: Words | None) -> list[str]:
    """Return what to do, in its order: a check knows more than the words of the code that it foresaw."""
    found = [bad.text] if bad else [words.fix] if words and words.fix else []
    # Some say when to send the next test.
    return found if any(" test " in text for text in found) else [*found, SEND_AGAIN]


def _line(stored: Mapping[str, Any], test: TestConversion, site: Site, role: Role, now: datetime) -> Line:
    until = datetime.fromisoformat(stored["until"]) if stored.get("until") else None
    return Line(
        title=str(stored["title"]),
        state=str(stored["state"]),
        note=str(stored.get("note", "")),
        text=str(stored.get("fix", "")),
        until=until,
        left=wording.duration((until - now).total_seconds()) if until and until > now else "",
        fix=_fix_of(Help(stored.get("help", "")), test, site, role),
    )


def _fix_of(help_: Help, test: TestConversion, site: Site, role: Role) -> Fix | None:
    account = test.account
    match help_:
        case Help.RECONNECT:
            return Fix("Open Integrations to reconnect", url_or_nothing("integrations", site.public_id))
        case Help.OTHER_USER:
            return Fix("Connect another Microsoft user", url_or_nothing("integrations", site.public_id))
        case Help.MICROSOFT:
            return Fix("Open Microsoft Advertising", MICROSOFT_ADVERTISING, is_elsewhere=True)
        case Help.RESUME:
            return Fix("Open the account to resume", account_url(site, account))
        case Help.MAPPING:
            return Fix("Open goal mapping", account_url(site, account, "mapping"))
        case Help.CREATE_GOAL:
            needed = "" if may(role, MAP) else role_names(MAP)
            named = urlencode({"name": goal_name_of(test)})
            return Fix("Create this goal", f"{account_url(site, account, 'goal-create')}?{named}", needed=needed)
        case Help.AUTO_TAGGING:
            needed = "" if may(role, CONNECT) else role_names(CONNECT)
            return Fix(
                "Turn on auto-tagging", account_url(site, account, "auto-tagging"), is_dialog=True, needed=needed
            )
        case Help.SETTINGS:
            return Fix("Open settings", account_url(site, account, "settings"))
    return None


def _accepted(delivery: Delivery | None) -> Line:
    if delivery is None or delivery.last_upload_id is None:
        return Line(doctor.ACCEPTED, State.WAIT)
    if delivery.status == Status.DELIVERED:
        return Line(doctor.ACCEPTED, State.OK, "no errors")
    is_refused = delivery.error_code is not None
    return Line(doctor.ACCEPTED, State.BAD, f"code {delivery.error_code}" if is_refused else "no answer")


def _waiting(test: TestConversion, lines: list[Line], now: datetime) -> Result:
    text = (
        "No worker has come to it yet. If none does within five minutes it is not sent."
        if is_late(test, now)
        else "Each check is ticked off as soon as Microsoft has answered."
    )
    title = "Sending to Microsoft…" if test.delivery_id else "Checking…"
    return Result("wait", title, text, goal_name_of(test), lines, [], [], "", "", "", "")


def is_late(test: TestConversion, now: datetime) -> bool:
    """Say whether a test waits for a worker for longer than it should."""
    return not test.checks and test.delivery_id is None and now - test.created_at > LATE


def _headline(account: AdAccount, delivery: Delivery, words: Words | None, lines: list[Line]) -> tuple[str, str]:
    bad = next((line for line in lines if line.state == State.BAD), None)
    if delivery.status == Status.DELIVERED and bad is None:
        return "Microsoft accepted the test conversion", f"{account.name} is ready for production."
    if delivery.status == Status.DELIVERED:
        assert bad is not None
        return "Microsoft accepted the test, and a check failed", f"{bad.title}: {bad.note}."
    if delivery.error_symbol == TEST_STOPPED and bad is not None:
        return f"The test was not sent: {_lower(bad.note)}", f"The check “{bad.title}” failed, so nothing was sent."
    title, cause = (words.title, words.cause) if words else ("The test failed", "")
    is_refused = delivery.error_code is not None and not title.startswith(("Microsoft", "The test"))
    return f"Microsoft rejected the test: {_lower(title)}" if is_refused else title, cause


def _fixes(bad: Line | None, words: Words | None, site: Site, account: AdAccount) -> list[Fix]:
    found = [bad.fix] if bad is not None and bad.fix is not None else []
    pages = {
        "mapping": ("Open goal mapping", account_url(site, account, "mapping")),
        "settings": ("Open settings", account_url(site, account, "settings")),
        "integrations": ("Open Integrations", url_or_nothing("integrations", site.public_id)),
        "install": ("Open Install SDK", url_or_nothing("install", site.public_id)),
    }
    page = pages.get(words.page if words else "")
    is_new = page is not None and page[1] not in {fix.href for fix in found}
    return [*found, Fix(*page)] if page is not None and is_new else found


def _answer(delivery: Delivery) -> str:
    """Return how Microsoft answered and how fast: "Accepted in 386 ms"."""
    upload = delivery.last_upload
    if upload is None:
        return "Not sent"
    is_refused = upload.refused or delivery.error_code is not None
    what = "Accepted in" if delivery.status == Status.DELIVERED else "Rejected in" if is_refused else "No answer after"
    return what.rpartition(" ")[0] if upload.seconds is None else f"{what} {wording.duration(upload.seconds)}"


def _answer_title(delivery: Delivery) -> str:
    upload = delivery.last_upload
    if upload is None:
        return ""
    facts = [f"HTTP {upload.http_status}" if upload.http_status else "no HTTP answer"]
    facts += [wording.duration(upload.seconds)] if upload.seconds is not None else []
    return " · ".join(["Microsoft’s response", *facts])


def _answer_json(delivery: Delivery) -> str:
    """Return Microsoft's answer as it came, in lines; what is no JSON as text, "" where nothing came."""
    text = delivery.last_upload.answer if delivery.last_upload else ""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)[:MAX_ANSWER_CHARS] if text else ""
    except ValueError:
        return text[:MAX_ANSWER_CHARS]


def request_title() -> str:
    """Return what stands over the request."""
    return f"POST {Operation.CONVERSIONS.label}"


def _lower(text: str) -> str:
    return text if text.startswith("Microsoft") else text[:1].lower() + text[1:]
