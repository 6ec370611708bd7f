"""Small calls while a row is looked for that spoils the call it is in: only the suspects go out in them.

`AdAccount.batch_limit` is the size of a call and `limited_rows` how many suspects are left. The suspects keep their
turn, which is the oldest, so they are the next to go out; when they are through, calls are whole again.
"""

from integrations.models import AdAccount


def look_among(account: AdAccount, suspects: int, at_once: int) -> None:
    """Send so many suspects, which are due before anything else, in calls of `at_once` rows."""
    account.batch_limit, account.limited_rows = at_once, suspects
    account.save(update_fields=["batch_limit", "limited_rows"])


def after_call(account: AdAccount, taken: int | None) -> dict[str, object]:
    """Return what changes in the account's columns once a call took so many rows off the queue; None was beside it.

    A call below its limit was the last of the queue, so the next one may be whole again, too.
    """
    if account.batch_limit is None or taken is None:
        return {}
    left = None if account.limited_rows is None else account.limited_rows - taken
    if taken < account.batch_limit or (left is not None and left <= 0):
        return {"batch_limit": None, "limited_rows": None}
    return {} if left is None else {"limited_rows": left}


def count_down(account: AdAccount, taken: int) -> None:
    """Write down `after_call`, in the account that is locked and in its row."""
    changes = after_call(account, taken)
    for name, value in changes.items():
        setattr(account, name, value)
    if changes:
        account.save(update_fields=changes.keys())
