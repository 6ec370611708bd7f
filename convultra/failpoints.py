"""Places where a test may kill the process, to prove what a crash there leads to. Silent unless a test names one."""

import os
import signal

from django.conf import settings

BEFORE_INGEST = "before_ingest"  # what arrived is read, nothing of it is committed
AFTER_INGEST = "after_ingest"  # what arrived is committed, the sender has no answer yet
HALF_IMPORTED = "half_imported"  # rows of a file are stored, in a transaction that is still open
HALF_BULK = "half_bulk"  # a batch of a bulk action is done, in a transaction that is still open
HALF_PLANNED = "half_planned"  # deliveries are written, in a transaction that is still open
AFTER_CLAIM = "after_claim"  # an upload is open, nothing was sent
AFTER_SEND = "after_send"  # Microsoft has answered, nothing is marked yet
HALF_MARKED = "half_marked"  # some rows of the answer are marked, in a transaction that is still open
AFTER_TOKENS = "after_tokens"  # Microsoft has given a new pair of tokens, nothing is saved yet


def reach(name: str) -> None:
    """Die here, as by `kill -9`, when this is the failpoint that `FAILPOINT` names."""
    if name == settings.FAILPOINT:
        os.kill(os.getpid(), signal.SIGKILL)
