"""Pages for people: consent, its error, the index, the ledger and a make-believe search.

Strings, every value escaped, no JavaScript.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from html import escape
from urllib.parse import urlencode, urlsplit

from integrations.microsoft_ads.emulator.books import (
    CLIENT_ID,
    CLIENT_SECRET,
    DEVELOPER_TOKEN,
    VIEWER,
    Account,
    Booking,
    Books,
    Call,
    User,
    totals,
)
from integrations.microsoft_ads.emulator.faults import Fault

CALLS_SHOWN = 50
BOOKINGS_SHOWN = 100
REFRESH_SECONDS = 5

STYLE = """
:root { color-scheme: light dark; --line: #d9dde3; --dim: #5b6472; --paper: #fff; --back: #f3f5f8; --ink: #16202e;
  --blue: #0b62c4; --bad: #a51d2d; --good: #14663a }
@media (prefers-color-scheme: dark) { :root { --line: #343c48; --dim: #9aa5b4; --paper: #171c24; --back: #0f1319;
  --ink: #e7ecf3; --blue: #6fb0ff; --bad: #ff8c98; --good: #6bd39a } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: var(--back); color: var(--ink) }
.note { background: #fff4ce; color: #4d3d00; padding: 6px 20px; font-size: 13px }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 60px }
main.slim { max-width: 460px; padding-top: 4vh }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 24px; margin: 0 0 20px;
  overflow-x: auto }
h1 { font-size: 22px; margin: 0 0 6px }
h2 { font-size: 16px; margin: 0 0 12px }
p { margin: 0 0 12px }
a { color: var(--blue) }
.dim { color: var(--dim) }
.bad { color: var(--bad) }
.good { color: var(--good) }
s { opacity: .6 }
nav { margin: 0 0 14px }
nav a { margin-right: 16px }
table { border-collapse: collapse; width: 100%; font-size: 13px }
caption { text-align: left; font-weight: 600; padding-bottom: 8px }
th, td { text-align: left; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap }
th { color: var(--dim); font-weight: 500 }
td.n, th.n { text-align: right; padding-left: 10px }
code, .mono { font: 12px/1.5 ui-monospace, monospace }
fieldset { border: 0; padding: 0; margin: 0 }
legend { margin-bottom: 8px }
label.user { display: flex; gap: 12px; padding: 8px 12px; border: 1px solid var(--line); border-radius: 8px;
  margin-bottom: 8px; cursor: pointer }
label.user:has(:checked) { border-color: var(--blue) }
label.user small { display: block; line-height: 1.35; color: var(--dim) }
.row { display: flex; gap: 10px; justify-content: flex-end; margin-top: 18px }
button { font: inherit; padding: 8px 22px; border-radius: 6px; border: 1px solid var(--line); background: var(--paper);
  color: inherit }
button.go { background: #0b62c4; border-color: #0b62c4; color: #fff }
button:focus-visible { outline: 2px solid var(--blue) }
.ad { margin-bottom: 22px }
.ad b { border: 1px solid var(--dim); border-radius: 4px; padding: 0 5px; font-size: 11px; color: var(--dim) }
.ad h2 { margin: 2px 0 }
input.q { width: 100%; font: inherit; padding: 10px 14px; border-radius: 22px; border: 1px solid var(--line);
  background: var(--paper); color: inherit }
"""
NOTE = "This is a local emulator. It is not Microsoft, and nothing leaves this machine."


def _page(title: str, body: str, *, slim: bool = False, refresh: int = 0) -> str:
    meta = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title>{meta}"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><div class="note">{NOTE}</div><main{" class=slim" if slim else ""}>{body}</main></body></html>'
    )


def _table(caption: str, heads: Iterable[str], rows: list[list[str]], empty: str) -> str:
    """Return a table; cells are HTML already. A head that ends in `#` is a column of numbers."""
    columns = list(heads)
    if not rows:
        return f'<div class="card"><h2>{caption}</h2><p class="dim">{empty}</p></div>'
    marks = [' class="n"' if head.endswith("#") else "" for head in columns]
    head = "".join(f'<th scope="col"{mark}>{name.rstrip("#")}</th>' for name, mark in zip(columns, marks, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    )
    table = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="card"><table>{table}</table></div>'


# Sign-in


def consent(users: list[User], fields: dict[str, str]) -> str:
    """Return the consent page: choose a user, then Accept or Cancel. A plain form that carries the request along."""
    hint = fields.get("login_hint", "")
    chosen = hint if any(user.user_name == hint for user in users) else users[0].user_name
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
        if name not in ("user", "decision")
    )
    choices = "".join(
        f'<label class="user"><input type="radio" name="user" value="{escape(user.user_name)}"'
        f"{' checked' if user.user_name == chosen else ''}>"
        f"<span>{escape(user.first_name)} {escape(user.last_name)}<small>{escape(user.user_name)}</small>"
        f"<small>{escape(user.about)}</small></span></label>"
        for user in users
    )
    host = escape(urlsplit(fields["redirect_uri"]).netloc)
    return _page(
        "Sign in to Microsoft (emulated)",
        '<form class="card" method="post" action="/common/oauth2/v2.0/authorize">'
        f"<h1>Permissions requested</h1><p class=dim>by the application at <strong>{host}</strong></p>"
        "<p>It wants to <strong>manage your Microsoft Advertising accounts</strong> "
        "and keep that access while you are away.</p>"
        f"<fieldset><legend>Sign in as</legend>{choices}</fieldset>"
        f"{hidden}"
        '<div class="row"><button name="decision" value="cancel">Cancel</button>'
        '<button class="go" name="decision" value="accept">Accept</button></div></form>',
        slim=True,
    )


def sign_in_error(number: int, text: str) -> str:
    """Return the page for a sign-in that must not be sent back anywhere."""
    return _page(
        "Sign-in failed",
        f'<div class="card"><h1>We are unable to sign you in</h1><p>{escape(text)}</p>'
        f'<p class="dim mono">AADSTS{number}</p></div>',
        slim=True,
    )


# Control


def index(books: Books, kinds: dict[str, str], operations: tuple[str, ...]) -> str:
    """Return what there is, who may sign in, and how a fault is asked for."""
    users = [[escape(user.user_name), escape(user.about), _role_words(user)] for user in books.users.values()]
    accounts = [_account_cells(books, account) for account in books.accounts.values()]
    fault_rows = [[f"<code>{escape(kind)}</code>", escape(text)] for kind, text in kinds.items()]
    fault = '{"operation": "OfflineConversions/Apply", "times": 3, "fault": "503"}'
    example = f"curl -H 'Content-Type: application/json' \\\n  -d '{fault}' …/_emulator/faults"
    return _page(
        "Microsoft Advertising emulator",
        "<h1>Microsoft Advertising emulator</h1>"
        '<nav><a href="/_emulator/ledger">Ledger</a><a href="/_emulator/search?q=garden+bench">Search page</a>'
        '<a href="/_emulator/ledger.json">ledger.json</a><a href="/_emulator/calls.json">calls.json</a>'
        '<a href="/_emulator/faults">faults</a><a href="/_emulator/settings">settings</a>'
        '<a href="/_emulator/goals">goals</a></nav>'
        f'<div class="card"><h2>Credentials</h2><p class="mono">client id {CLIENT_ID}<br>'
        f"client secret {CLIENT_SECRET}<br>developer token {DEVELOPER_TOKEN}</p></div>"
        + _table("Users", ("User", "Who", "Role"), users, "None.")
        + _table(
            "Accounts",
            ("Account", "Number", "Id", "Customer", "Currency", "Status", "Offline goals#"),
            accounts,
            "None.",
        )
        + _table("Kinds of fault", ("Kind", "What it does"), fault_rows, "None.")
        + f'<div class="card"><h2>Asking for a fault</h2><pre class="mono">{escape(example)}</pre>'
        f'<p class="dim">Operations: {escape(", ".join(operations))}</p></div>',
    )


def _role_words(user: User) -> str:
    if not user.roles:
        return "no accounts"
    return "view only" if all(role.role_id == VIEWER for role in user.roles) else f"{len(user.roles)} customer(s)"


def _account_cells(books: Books, account: Account) -> list[str]:
    offline = sum(goal.account_id == account.id and goal.type == "OfflineConversion" for goal in books.goals.values())
    customer = books.customers[account.customer_id].name
    cells = (account.name, account.number, account.id, customer, account.currency, account.status, str(offline))
    return [escape(cell) for cell in cells]


def ledger(books: Books, faults: list[Fault], account_id: str) -> str:
    """Return what came in and what counts, newest first, of one account or of all; the page reloads itself."""
    booked = [one for one in books.bookings if account_id in ("", one.account_id)]
    calls = [one for one in books.calls if account_id in ("", one.account_id)]
    name = books.accounts[account_id].name if account_id else "all accounts"
    return _page(
        "Ledger",
        f"<h1>Ledger of {escape(name)}</h1>"
        f'<p class="dim">Reloads every {REFRESH_SECONDS} seconds. Times are UTC. '
        '<a href="/_emulator/">About this emulator</a></p>'
        + _account_links(books, account_id)
        + _sums(booked, books)
        + _bookings(booked, books)
        + _waiting_faults(faults)
        + _calls(calls, books),
        refresh=REFRESH_SECONDS,
    )


def _account_links(books: Books, account_id: str) -> str:
    used = {one.account_id for one in books.bookings} | {one.account_id for one in books.calls} | {account_id}
    links = ['<a href="/_emulator/ledger">All accounts</a>']
    links += [
        f'<a href="/_emulator/ledger?{urlencode({"account_id": account.id})}">{escape(account.name)}</a>'
        for account in books.accounts.values()
        if account.id in used
    ]
    return f"<nav>{''.join(links)}</nav>"


def _account_name(books: Books, account_id: str) -> str:
    account = books.accounts.get(account_id)
    return escape(account.name if account else account_id or "–")


def _sums(booked: list[Booking], books: Books) -> str:
    rows = [
        [
            _account_name(books, str(one["account_id"])),
            escape(str(one["goal"])),
            str(one["count"]),
            _money(one["value"], one["currency"]),
        ]
        for one in totals(booked)
    ]
    return _table("What counts", ("Account", "Goal", "Conversions#", "Value#"), rows, "Nothing has been booked yet.")


def _bookings(booked: list[Booking], books: Books) -> str:
    rows = [_booking_cells(one, books) for one in reversed(booked[-BOOKINGS_SHOWN:])]
    heads = ("Conversion time", "Account", "Goal", "Sent#", "Counts#", "Click id", "Note", "Received", "TrackingId")
    return _table("Booked conversions", heads, rows, "Conversions appear here as soon as they are uploaded.")


def _booking_cells(one: Booking, books: Books) -> list[str]:
    worth = _money(one.effective_value(), one.currency)
    return [
        f'<span class="mono">{escape(one.conversion_time_text)}</span>',
        _account_name(books, one.account_id),
        escape(one.goal_name),
        _money(one.value, one.currency),
        worth if one.effective_count() else f"<s>{_money(one.value, one.currency)}</s>",
        f'<span class="mono">{escape(one.click_id or "– (hashed identifiers)")}</span>',
        _booking_note(one),
        _clock_time(one.received_at),
        _tracking_id(one.tracking_id),
    ]


def _booking_note(one: Booking) -> str:
    if one.retracted:
        return '<span class="bad">retracted</span>'
    notes = ["restated"] if one.restated_value is not None else []
    notes += [] if one.counted else ["not counted: Unique"]
    notes += [f"not attributed: {one.unattributed}"] if one.unattributed else []
    return escape(", ".join(notes)) or '<span class="good">attributed</span>'


def _waiting_faults(faults: list[Fault]) -> str:
    rows = [[escape(one.operation), escape(one.name), str(one.remaining)] for one in faults]
    return _table("Faults waiting", ("Operation", "Fault", "Times left#"), rows, "None.") if rows else ""


def _calls(calls: list[Call], books: Books) -> str:
    rows = [_call_cells(one, books) for one in reversed(calls[-CALLS_SHOWN:])]
    heads = ("Time", "Operation", "Account", "User", "Rows#", "Refused#", "HTTP#", "Result", "Fault", "TrackingId")
    return _table(f"Last {CALLS_SHOWN} calls", heads, rows, "Nobody has called yet.")


def _call_cells(one: Call, books: Books) -> list[str]:
    user = books.users.get(one.user_id)
    mark = "good" if one.result == "OK" and one.status == 200 else "bad"
    return [
        _clock_time(one.received_at),
        escape(one.operation),
        _account_name(books, one.account_id),
        escape(user.user_name if user else "–"),
        str(one.rows or "–"),
        str(one.refused or "–"),
        str(one.status or "closed"),
        f'<span class="{mark}">{escape(one.result)}</span>',
        escape(one.fault or "–"),
        _tracking_id(one.tracking_id),
    ]


def _tracking_id(tracking_id: str) -> str:
    return f'<span class="mono" title="{escape(tracking_id)}">{escape(tracking_id[:8])}…</span>'


def _clock_time(moment: datetime) -> str:
    return f'<span class="mono">{moment:%m-%d %H:%M:%S}</span>'


def _money(value: object, currency: object) -> str:
    if not isinstance(value, Decimal):
        return "–"
    return escape(f"{value:,.2f} {currency or ''}".strip())


# The search page


def search(query: str, ads: list[Account], landing_url: str) -> str:
    """Return results with ads of the shop; following one records a click and lands with its id."""
    host = escape(urlsplit(landing_url).netloc)
    blocks = "".join(
        f'<div class="ad"><b>Ad</b> <span class="dim">{host}</span>'
        f'<h2><a href="/_emulator/click?{urlencode({"account_id": account.id})}">{escape(title)}</a></h2>'
        f'<p class="dim">{escape(text)} <span class="mono">Account: {escape(account.name)}</span></p></div>'
        for account, (title, text) in zip(ads, AD_TEXTS, strict=False)
    )
    return _page(
        f"{query} – Search",
        '<form action="/_emulator/search" method="get"><input class="q" name="q" aria-label="Search" '
        f'value="{escape(query)}"></form><br>{blocks}'
        '<div class="ad"><span class="dim">gardens.example</span><h2>Garden furniture</h2>'
        '<p class="dim">Furniture made for use outside. Without an ad there is no click id.</p></div>',
    )


AD_TEXTS = (
    (
        "Harbor & Pine | Solid oak furniture, made to last",
        "Tables, benches and chairs from our own workshop. Free delivery above $200.",
    ),
    ("Oak garden benches on sale | Harbor & Pine", "Weatherproof, 10-year warranty. Shop the autumn range."),
)
