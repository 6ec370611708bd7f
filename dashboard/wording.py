"""How numbers, money, times and ids are written, on every page and in every export. Pure functions, no HTML."""

import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

# A currency's mark as a reader of the dashboard knows it; any other is written with its code.
MARKS = {
    "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CAD": "CA$", "AUD": "A$", "NZD": "NZ$", "MXN": "MX$", "BRL": "R$",
    "INR": "₹", "KRW": "₩", "ILS": "₪", "VND": "₫", "PHP": "₱",
}  # fmt: skip
# Money of these has no smaller unit.
WITHOUT_CENTS = {"JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF"}
DASH = "–"
MINUTE, HOUR, DAY = 60, 3600, 86400
COMPACT_FROM = 10_000_000
FIGURE_WITHOUT_CENTS_FROM = 1000
# From where a figure is shortened to which unit, the largest first.
_SIZES = ((10**12, 10**12, "T"), (10**9, 10**9, "B"), (COMPACT_FROM, 10**6, "M"))
_LONG = re.compile(r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?")


def thousands(number: int) -> str:
    """Write a count: 1,604; from ten million 12.4M, whose page shows the whole number as a title."""
    return f"{number / 1_000_000:.1f}M" if abs(number) >= COMPACT_FROM else f"{number:,}"


def brief(written: str) -> str:
    """Shorten what is ten million or more in a sum that is written out: $12.4M, $1.2B, €2.0T. For large figures."""
    return _LONG.sub(_shortened, written)


def _shortened(found: re.Match[str]) -> str:
    number = Decimal(found[0].replace(",", ""))
    fitting = (f"{number / unit:,.1f}{letter}" for least, unit, letter in _SIZES if number >= least)
    return next(fitting, found[0])


def capped(number: int, cap: int = 10_000) -> str:
    """Write a count that was not counted beyond `cap`: 10,000+."""
    return f"{cap:,}+" if number > cap else f"{number:,}"


def rate(part: int, whole: int) -> str:
    """Write a share with one decimal; a dash when there is nothing to share, <0.1% for what is not quite none."""
    if not whole:
        return DASH
    share = Decimal(part) * 100 / whole
    if part and share < Decimal("0.1"):
        return "<0.1%"
    # 99.97% is not all of it.
    return "99.9%" if part < whole and share > Decimal("99.9") else f"{share:.1f}%"


def change(now: Decimal | int, before: Decimal | int) -> str:
    """Write how much more it is than it was: +8.1%; "" where there was nothing before."""
    if not before:
        return ""
    percent = Decimal(now - before) * 100 / Decimal(before)
    return f"{'−' if percent < 0 else '+'}{abs(percent):,.1f}%"


def money(value: Decimal | None, currency: str, home: str = "") -> str:
    """Write a value to the cent (to the third decimal where there is one): $129.95, CA$4,182.00, CHF 12.50.

    `home` is the site's currency: its dollar is plainly $. A conversion without a value has "No value", never $0.00.
    """
    return "No value" if value is None else _marked(value, currency, home, _decimals(value, currency))


def amount(value: Decimal | None, currency: str) -> str:
    """Write a value for a program, with the decimals of `money`: 129.95, 4182.00; nothing where there is none."""
    return "" if value is None else str(_rounded(value, _decimals(value, currency)))


def figure(value: Decimal, currency: str, home: str = "") -> str:
    """Write a sum for a figure: cents are dropped from 1,000 on."""
    if abs(value) < FIGURE_WITHOUT_CENTS_FROM:
        return money(value, currency, home)
    return _marked(value, currency, home, 0)


def sums(by_currency: dict[str, Decimal], home: str = "") -> str:
    """Write sums side by side, the site's own currency first: currencies are never added up."""
    first, *others = sorted(by_currency, key=lambda code: (code != home, code)) or [""]
    written = figure(by_currency[first], first, home) if by_currency else DASH
    for code in others:
        value = by_currency[code]
        written += f" {'−' if value < 0 else '+'} {figure(abs(value), code, home)}"
    return written


def main_currency(by_currency: dict[str, Decimal], home: str) -> str:
    """Return the currency of a large figure: the site's own, or else the one with the most value."""
    return home if home in by_currency or not by_currency else max(by_currency, key=lambda code: by_currency[code])


def apart(by_currency: dict[str, Decimal], home: str) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Return a large figure's own sum, and those of other currencies, which stand below it for want of room."""
    main = main_currency(by_currency, home)
    own = {code: value for code, value in by_currency.items() if code == main}
    return own, {code: value for code, value in by_currency.items() if code != main}


def revenue(by_currency: dict[str, Decimal], delivered: int, home: str = "") -> str:
    """Write what is delivered: $0.00 where all was taken back, a dash only where nothing was delivered at all."""
    if not delivered:
        return DASH
    return sums(by_currency, home) if by_currency else "No value"


def _decimals(value: Decimal, currency: str) -> int:
    usual = 0 if currency in WITHOUT_CENTS and value == value.to_integral_value() else 2
    exact = value.normalize().as_tuple().exponent
    return max(usual, min(-exact, 3)) if isinstance(exact, int) else usual


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def _marked(value: Decimal, currency: str, home: str, decimals: int) -> str:
    digits = f"{_rounded(abs(value), decimals):,}"
    sign = "−" if value < 0 else ""
    if currency == home and MARKS.get(currency, "").endswith("$"):
        return f"{sign}${digits}"
    if currency in MARKS:
        return f"{sign}{MARKS[currency]}{digits}"
    return f"{sign}{currency} {digits}".strip()


def clock(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Write a moment in the site's zone, as short as today allows: 14:32:08 or Nov 19, 16:20:09."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{day(moment, zone, now)}, {local:%H:%M:%S}"


def day(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Write a moment's day in the site's zone: Nov 19, with its year when it is not this one."""
    local = moment.astimezone(zone)
    year = "" if local.year == now.astimezone(zone).year else f", {local.year}"
    return f"{local:%b} {local.day}{year}"


def sentence(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Write a moment as a sentence names it, after "on": Nov 20 at 09:14."""
    return f"{day(moment, zone, now)} at {moment.astimezone(zone):%H:%M}"


def full(moment: datetime, zone: ZoneInfo) -> str:
    """Write a moment with everything: Nov 19, 2026, 16:20:09 CST (UTC-06:00)."""
    local = moment.astimezone(zone)
    rest, offset = local.strftime("%Y, %H:%M:%S %Z|%z").split("|")
    return f"{local:%b} {local.day}, {rest} (UTC{offset[:3]}:{offset[3:5]})"


def ago(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Write how long ago a "last …" fact was; from a day on, its day."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "now"
    if MINUTE <= seconds < HOUR:
        seconds -= seconds % MINUTE
    return f"{duration(seconds)} ago" if seconds < DAY else f"on {day(moment, zone, now)}"


def duration(seconds: float) -> str:
    """Write a duration in its two largest units: 412 ms, 38 s, 2 min 10 s, 2 h 52 min, 3 d 4 h."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    whole = round(seconds)
    for size, name, smaller, small_name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def short_click_id(click_id: str) -> str:
    """Write a click id as its first six and last five characters."""
    return f"{click_id[:6]}…{click_id[-5:]}" if len(click_id) > 12 else click_id


def initials(name: str) -> str:
    """Return the two letters that stand for a site or a person."""
    words = [word for word in name.replace("&", " ").replace("@", " ").replace(".", " ").split() if word[0].isalnum()]
    letters = words[0][0] + words[1][0] if len(words) > 1 else (words[0][:2] if words else "?")
    return letters.upper()


def listed(names: list[str]) -> str:
    """Join names as a sentence does: A, B and C."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
