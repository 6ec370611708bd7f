"""What counts as a Microsoft click id.

Today's ids are 32 hexadecimal characters, a GUID without dashes (cm/accountproperty); some published samples have
29, CAPI-style sources write 36 with dashes. Whatever has that look, at least 24 of them no dashes, is kept and sent as
it came, for Microsoft to judge. The rest (`undefined`, Microsoft's own `Example-123`, an unreplaced `{msclkid}`) is
noted and never used.
"""

import re

_CLICK_ID = re.compile(r"(?=(?:-*[0-9a-fA-F]){24})[0-9a-fA-F-]{24,40}")


def is_click_id(text: str) -> bool:
    """Say whether the text may be sent to Microsoft as a click id."""
    return _CLICK_ID.fullmatch(text) is not None
