"""Microsoft Advertising over REST: what Convultra asks of it, and what it answers.

The room's rule: one method is one call of one documented operation, and an answer is believed only when it
has the documented shape. Whatever else comes back is an error that says what to do next and whether
Microsoft may have taken the rows. Waiting, retrying and remembering are the caller's work.

Nothing here knows Django or the database. `emulator/` is a second reading of Microsoft's pages: it imports
nothing of the client, nor the client of it.

    endpoints   where Microsoft lives, and which scope each environment wants
    shapes      what travels, as small frozen types
    wire        conversions and adjustments to bytes: the same rows, the same bytes
    errors      every code and symbol with what to do about it; the tree of exceptions
    strict_json JSON read member by member
    answers     successes, faults of every shape, and what is neither
    transport   deadlines, caps, and what a broken connection proves
    auth        the bearer token on a request, renewed once
    oauth       consent, codes and refresh tokens
    client      the operations

The limits and oddities that shape this code are collected in docs/microsoft-ads.md.
"""
