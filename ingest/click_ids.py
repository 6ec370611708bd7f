"""What counts as a Microsoft click id.

Today's ids are 32 hexadecimal characters, a GUID without dashes (cm/accountproperty); some published samples have
29, CAPI-style sources write 36 with dashes. Whatever has that look, at least 24 of them no dashes, is kept and sent as
it came, for Microsoft to judge. The rest (`undefined`, Microsoft's own `Example-123`, an unreplaced `{msclkid}`) is
noted and never used.

The install page opens a customer's page with a test id of our own making. It has the look, so that the SDK keeps it
like any other, and begins as no GUID of Microsoft's will: it is stored, and never sent nor used to find a click.
"""

import re
import secrets
from datetime import datetime

# 64 bits that no click id begins with by chance.
TEST_PREFIX = "7e57c11c7e57c11c"

# Also understood by the databases.
LOOK = r"^(?=(?:-*[0-9a-fA-F]){24})[0-9a-fA-F-]{24,40}$"

_LOOK = re.compile(LOOK)


def is_click_id(text: str) -> bool:
    """Say whether the text may be sent to Microsoft as a click id."""
    return _LOOK.fullmatch(text) is not None and not is_test_click_id(text)


def is_test_click_id(text: str) -> bool:
    """Say whether the text is an id that the install page made, in whatever case or grouping it came back."""
    return _LOOK.fullmatch(text) is not None and text.replace("-", "").lower().startswith(TEST_PREFIX)


def new_test_click_id(now: datetime) -> str:
    """Return a test click id. The second in it lets the newest of a site be found by an index on the ids."""
    return f"{TEST_PREFIX}{int(now.timestamp()):08x}{secrets.token_hex(4)}"
