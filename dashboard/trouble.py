"""What a page says when Microsoft could not be asked: what happened, why, and what to do."""

from typing import NamedTuple

from forwarding.errors import words_for
from integrations.microsoft_ads.errors import ClientMisconfigured, GrantDead, MicrosoftAdsError, WhatToDo


class Trouble(NamedTuple):
    """A title and a sentence for a person."""

    title: str
    text: str


def in_words(error: MicrosoftAdsError) -> Trouble:
    """Put a failed call in words. Microsoft's own text is not shown: it can quote the request."""
    if isinstance(error, GrantDead) or error.what_to_do is WhatToDo.RECONNECT:
        return Trouble("Microsoft refused our access", "Reconnect this sign-in. Its conversions are held meanwhile.")
    if isinstance(error, ClientMisconfigured) or error.what_to_do is WhatToDo.OPERATOR:
        return Trouble(
            "Convultra’s own registration at Microsoft is not in order",
            "This is not your fault, and only the operator of this server can mend it. Nothing was changed.",
        )
    if error.code is None and not error.symbol:
        return Trouble("Microsoft did not answer", "Nothing was changed. Try again in a minute.")
    words = words_for(error.code, error.symbol)
    return Trouble(words.title, " ".join(part for part in (words.cause, words.fix) if part))
