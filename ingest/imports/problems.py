"""What can be wrong with a row of a file: one table of codes, with what it is called and how it is put right.

`{}` is the column as the file calls it. The codes of `ingest/refusals.py` that a row can meet are among them.
"""

from typing import NamedTuple

from ingest.models import Import


class Problem(NamedTuple):
    """What is wrong, and how to fix it."""

    title: str
    fix: str


_ID_RULE = "Begin with a letter or digit; then letters, digits and . _ : = + ~ - may follow, 128 characters in all."
_FULL_STOP = "Write it as 1250.00: digits and a full stop before the decimals, no other separator and no currency sign."

PROBLEMS = {
    "no_identifier": Problem(
        "No click ID, email or phone",
        "Add a click ID (msclkid) or an email. Without one Microsoft cannot match it.",
    ),
    "date_unclear": Problem(
        "Date is not clear", "Use 2026-04-03, or choose day first or month first for the whole file."
    ),
    "time_malformed": Problem("{} is no date", "Write 2026-11-21 14:05:00, with its zone where that differs: -06:00."),
    "time_skipped": Problem("{} does not exist", "Clocks went forward over this hour. Add the zone, such as -06:00."),
    "zone_unknown": Problem("Time zone is unknown", "Use an offset such as -06:00, or a name such as America/Chicago."),
    "day_not_over": Problem(
        "Its day is not over", "A date without a time counts as the end of its day. Add the time, or import tomorrow."
    ),
    "time_in_future": Problem("{} is in the future", "Check date and time zone."),
    "time_out_of_range": Problem("{} cannot be right", "Check the year."),
    "required": Problem("{} is missing", "Fill the column {}."),
    "value_separators": Problem("{} has separators or a sign", _FULL_STOP),
    "value_malformed": Problem("{} is no number", _FULL_STOP),
    "value_unclear": Problem(
        "{} is not clear", "1.250 could be 1250 or 1.25. Write 1250.00, or save the file separated by commas."
    ),
    "value_negative": Problem(
        "{} is negative", "A refund is an event named refund with the order's transaction_id and a positive value."
    ),
    "value_too_large": Problem("{} is too large", "Microsoft takes 999999999999 at most."),
    "value_decimals": Problem("{} has too many decimals", "Round it to two decimals, three at most."),
    "currency_lower_case": Problem("{} is not in capitals", "Write USD, not usd."),
    "currency_unknown": Problem("{} is unknown", "Use a code of ISO 4217 in which Microsoft takes conversions: USD."),
    "name_malformed": Problem(
        "{} is no event name", "A letter, then letters, digits, full stops, dashes and underscores, 64 in all."
    ),
    "goal_unknown": Problem(
        "Goal is not mapped", "Map an event to the goal of this name on the Goal mapping tab, or correct the name."
    ),
    "goal_of_several": Problem(
        "{} could be several events", "Write one of these, exactly as it is here: {choices}."
    ),
    "id_spoilt": Problem(
        "{} was spoilt by a spreadsheet",
        "1.23457E+11 stands for many numbers. Format the column {} as text, and fill in the IDs again.",
    ),
    "event_id_malformed": Problem("{} is not valid", _ID_RULE),
    "adjustment_id_malformed": Problem("{} is not valid", _ID_RULE),
    "click_id_malformed": Problem(
        "{} is no click ID", "It has 32 hexadecimal characters. Spreadsheets spoil it: format the column as text."
    ),
    "email_malformed": Problem("{} is no email address", "Correct it, or leave it empty."),
    "phone_malformed": Problem("{} is no phone number", "Write it with its country: +1 425 555 1234."),
    "country_unknown": Problem("{} is no country", "Use its two letters, such as US."),
    "hash_malformed": Problem("{} is no SHA-256", "It has 64 hexadecimal characters. Plain ones have own columns."),
    "hash_of_nothing": Problem("{} is the hash of nothing", "Leave it empty when there is nothing to hash."),
    "given_twice": Problem("Given plain and hashed", "Fill only one of the two columns."),
    "personal_data": Problem("{} holds an email address", "Put it into the email column, where it is hashed."),
    "consent_unknown": Problem("{} is not understood", "Write granted or denied, or leave it empty."),
    "bad_character": Problem("{} holds an unreadable character", "Remove it. It cannot be printed."),
    "too_long": Problem("{} is too long", "128 characters are kept at most."),
    "too_many_cells": Problem(
        "More cells than the header", "Put a value with a comma into quotes, or write it without one."
    ),
    "refund_without_order": Problem("Refund without its order", "Fill transaction_id with the order's."),
    "type_unknown": Problem("{} is unknown", "Write Restate or Retract, or leave it empty."),
    "value_of_retract": Problem("A retraction with a value", "Leave the value empty, or write Restate."),
    "original_unknown": Problem(
        "Conversion not found",
        "No conversion of ours has this click ID, goal and time to the second. Import it first, or correct it in "
        "Forward Logs.",
    ),
    "original_unclear": Problem(
        "Several conversions fit", "Correct the right one by hand in Forward Logs."
    ),
    "conflict": Problem(
        "Something else has this ID",
        "What was stored first stays. Give the row another ID if it is another conversion.",
    ),
    "imported_otherwise": Problem(
        "Imported before with another value",
        "A conversion of this name, time and click ID or person is stored, and stays. If they are two, give each an "
        "event_id or a transaction_id; a new value is a correction.",
    ),
    "read_otherwise": Problem(
        "Imported before, read in another way",
        "The same row was imported in another time zone, with day and month the other way round, or while its goal had "
        "another event. What was stored first stays.",
    ),
    "seconds_differ": Problem(
        "Imported before with other seconds",
        "A conversion of this name, minute and click ID or person is stored, and stays: spreadsheets cut seconds off. "
        "If they are two, give each an event_id or a transaction_id.",
    ),
    "left_out": Problem(
        "Changed between check and import",
        "Its goal was mapped anew, or something else brought it meanwhile. Import it again to have it checked anew.",
    ),
    "not_storable": Problem(
        "The database refused it", "That is a fault of ours, and it was noted. All other rows were imported."
    ),
    "currency_differs": Problem("{} is not the order's", "A new total is in the currency of its order."),
    "already_retracted": Problem("Already retracted", "Nothing follows a retraction or a full refund."),
}  # fmt: skip


class Group(NamedTuple):
    """The rows of a file with one problem: in words, with one of them as an example, and how many there are."""

    title: str
    fix: str
    row: int
    example: str
    rows: int
    is_note: bool  # the rows are taken, or stand further up


# Members that the row is taken without, when something else identifies it.
LEFT_OUT = {"email_malformed", "phone_malformed"}
# What is worth knowing of rows that need no fix.
NOTES = {
    "not_mapped": Problem(
        "{} is mapped to no goal",
        "The rows are stored and not forwarded, and mapping the name later does not change that. Map it first.",
    ),
    "date_without_time": Problem(
        "{} has a date and no time",
        "Without event_id and transaction_id the row is known by its time. If it was imported with its time before, it "
        "is counted twice: then export the file with it again, or add one of the two columns.",
    ),
    "repeated_otherwise": Problem(
        "Repeated with another value",
        "Name, time and click ID or person are those of a row further up, and only that one counts. If they are two "
        "conversions, give each an event_id or a transaction_id.",
    ),
    **{code: Problem(PROBLEMS[code].title, "The rows are taken without it.") for code in LEFT_OUT},
}


def told(code: str, column: str, choices: str = "") -> Problem:
    """Return the words of a problem in a column, as the file calls that."""
    return _told(PROBLEMS[code], column, choices)


def told_note(code: str, column: str) -> Problem:
    """Return the words of a note, as `told` does."""
    return _told(NOTES[code], column, "")


def _told(words: Problem, column: str, choices: str) -> Problem:
    title = words.title.format(column or "The row")
    # A column that is a word begins the sentence; one such as occurred_at is written as it is.
    title = title if "_" in column else title[:1].upper() + title[1:]
    return Problem(title, words.fix.format(column or "the row", choices=choices))


def told_of(source: Import) -> list[Group]:
    """Return the problems of an import in words, the most frequent first; what is only noted comes last."""
    groups = []
    for found in source.problems.values():
        column = source.labels.get(found["column"], found["column"])
        is_note = found["is_note"]
        title, fix = told_note(found["code"], column) if is_note else told(found["code"], column, *found["choices"])
        groups.append(Group(title, fix, found["row"], found["example"], found["count"], is_note))
    return sorted(groups, key=lambda group: (group.is_note, -group.rows, group.title))
