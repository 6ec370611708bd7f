"""One table of requests and responses, and what becomes of the cookie: every helper is held against all of it."""

import time
from dataclasses import dataclass
from typing import Literal

SECOND, HOUR, DAY = 1000, 60 * 60 * 1000, 24 * 60 * 60 * 1000  # milliseconds, as in the cookie
NOW = int(time.time() * SECOND)
VISITOR = "3f0c2c7e-9a51-4c3d-8f52-0d1e2f3a4b5c"
CLICK = "f894f652ea334e739002f7167ab8f8e3"
DASHED = "F894F652-EA33-4E73-9002-F7167AB8F8E3"
VISIT = f"{VISITOR}.{NOW - 30 * DAY}"
GOOD = f"{VISIT}.{CLICK}.{NOW - 20 * DAY}"


@dataclass(frozen=True)
class Case:
    """A request, the response that the site makes of it, and the cookie that has to be added to that."""

    name: str
    cookie: str = f"_convultra={GOOD}"
    """The whole Cookie header."""
    host: str = "www.shop.test"
    domain: str = "shop.test"
    """What the site has configured, if anything."""
    https: Literal["", "tls", "proxy"] = ""
    content_type: str = "text/html; charset=utf-8"
    caching: str = ""
    own: str = ""
    """The cookie as the site's own code sets it."""
    added: bool = True
    value: str = GOOD
    lives_from: int = NOW - 20 * DAY
    """The newest moment in the cookie; it ends 90 days later."""

    def __str__(self) -> str:
        return self.name


def sent(name: str, value: str, lives_from: int) -> Case:
    """Return a case in which this value is set again."""
    return Case(name, f"_convultra={value}", value=value, lives_from=lives_from)


def ignored(name: str, value: str) -> Case:
    """Return a case in which this value is left to itself."""
    return Case(name, f"_convultra={value}", added=False)


COOKIES = [
    sent("without a click", VISIT, NOW - 30 * DAY),
    sent("with a click", GOOD, NOW - 20 * DAY),
    sent("with a dashed click id in capitals", f"{VISIT}.{DASHED}.{NOW - DAY}", NOW - DAY),
    sent("an old visitor's new click", f"{VISITOR}.{NOW - 300 * DAY}.{CLICK}.{NOW - DAY}", NOW - DAY),
    sent("in its last hour", f"{VISITOR}.{NOW - 90 * DAY + HOUR}", NOW - 90 * DAY + HOUR),
    sent("by a clock that is 23 hours fast", f"{VISITOR}.{NOW + 23 * HOUR}", NOW + 23 * HOUR),
    Case("between other cookies", f"a=1; _convultra={GOOD};b=2"),
    Case("no cookie at all", "", added=False),
    Case("a longer name", f"_convultra2={GOOD}", added=False),
    Case("a name that ends alike", f"a=1; my_convultra={GOOD}", added=False),
    Case("the name in another's value", f"x=_convultra={GOOD}", added=False),
    Case("two of the name", f"_convultra={GOOD}; _convultra={VISIT}", added=False),
    ignored("a visitor of 90 days", f"{VISITOR}.{NOW - 90 * DAY - SECOND}"),
    ignored("a click of 90 days", f"{VISITOR}.{NOW - 99 * DAY}.{CLICK}.{NOW - 90 * DAY - SECOND}"),
    ignored("a visitor 25 hours ahead", f"{VISITOR}.{NOW + 25 * HOUR}"),
    ignored("a click 25 hours ahead", f"{VISIT}.{CLICK}.{NOW + 25 * HOUR}"),
    ignored("empty", ""),
    ignored("a visitor that is no UUID", f"{'-' * 36}.{NOW}"),
    ignored("a visitor in capitals", f"{VISITOR.upper()}.{NOW}"),
    ignored("no moment", VISITOR),
    ignored("a moment in seconds", f"{VISITOR}.{NOW // SECOND}"),
    ignored("a moment of 14 digits", f"{VISITOR}.{NOW}0"),
    ignored("a negative moment", f"{VISITOR}.-{NOW}"),
    ignored("a moment in other digits", f"{VISITOR}.{NOW}".translate({ord("1"): "١"})),
    ignored("a click without its moment", f"{VISIT}.{CLICK}"),
    ignored("a click id of 23 digits", f"{VISIT}.{'a' * 23}.{NOW}"),
    ignored("a click id of 23 digits and dashes", f"{VISIT}.{'a' * 23}{'-' * 9}.{NOW}"),
    ignored("a click id of 41 characters", f"{VISIT}.{'a' * 41}.{NOW}"),
    ignored("a click id that is none", f"{VISIT}.{'g' * 32}.{NOW}"),
    ignored("a field too many", f"{GOOD}.1"),
    ignored("a dot too many", f"{GOOD}."),
    ignored("blank at its end", f"{GOOD} "),
    ignored("quoted", f'"{GOOD}"'),
    ignored("far too long", GOOD + "a" * 5000),
    ignored("a line break at its end", f"{GOOD}\n"),
    ignored("a header of its own", f"{GOOD}\r\nSet-Cookie: evil=1"),
    ignored("a header of its own, encoded", f"{GOOD}%0d%0aSet-Cookie:%20evil=1"),
    ignored("a header of its own in place of the visitor", f"\r\nX-Evil: 1\r\n.{NOW}"),
    ignored("a NUL", f"{GOOD}\0"),
    ignored("an attribute of its own", f"{GOOD},Domain=evil.test"),
]
RESPONSES = [
    Case("over https", https="tls"),
    Case("over https as far as the proxy", https="proxy"),
    Case("a page whose type is shouted", content_type="TEXT/HTML"),
    Case("a page that browsers may keep", caching="max-age=60"),
    Case("a page that nobody may keep", caching="no-store"),
    Case("a page that is everybody's", caching="public, max-age=60", added=False),
    Case("a page that is everybody's for a minute", caching="s-maxage=60", added=False),
    Case("JSON", content_type="application/json", added=False),
    Case("a stylesheet", content_type="text/css", added=False),
    Case("a page that sets the cookie itself", own=f"_convultra={VISIT}; Path=/", added=False),
    Case("a page that sets another", own="session=1; Path=/"),
]
DOMAINS = [
    Case("a deeper host of the configured domain", host="a.b.shop.test"),
    Case("without a configured domain", domain=""),
    Case("without a configured domain, without www", domain="", host="shop.test"),
    Case("without a configured domain, with a port", domain="", host="WWW.Shop.Test:8000"),
    Case("without a configured domain, on another subdomain", domain="", host="checkout.shop.test", added=False),
    Case("without a configured domain, under a longer suffix", domain="", host="www.shop.co.test", added=False),
    Case("without a configured domain, on an address", domain="", host="127.0.0.1:8000", added=False),
    Case("without a configured domain, on this machine", domain="", host="localhost", added=False),
    Case("without a configured domain, under a made-up host", domain="", host="shop.test;x=y", added=False),
]
CASES = [*COOKIES, *RESPONSES, *DOMAINS]
