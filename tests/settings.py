"""The product's settings with throw-away secrets, so that the suite needs no environment of its own."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "only-for-tests-and-longer-than-fifty-characters-0123456789")
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "dGVzdHMtb25seS0wMTIzNDU2Nzg5MDEyMzQ1Njc4OWE=")
os.environ.setdefault("PUBLIC_URL", "http://testserver")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,localhost,127.0.0.1")
os.environ.setdefault("MICROSOFT_CLIENT_ID", "emulator-client")
os.environ.setdefault("MICROSOFT_CLIENT_SECRET", "emulator-secret")
os.environ.setdefault("MICROSOFT_DEVELOPER_TOKEN", "emulator-developer-token")
for _base in ("LOGIN", "CAMPAIGN", "CUSTOMER"):
    os.environ.setdefault(f"MICROSOFT_{_base}_URL", "http://127.0.0.1:9")  # discard: no test may reach Microsoft

from convultra.settings import *  # noqa: E402, F403

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    # A file, not memory: some tests start other processes on the same database.
    _file = Path(tempfile.gettempdir()) / f"convultra-test-{os.getpid()}.sqlite3"
    DATABASES["default"]["TEST"] = {"NAME": str(_file)}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Static files are found where they lie: no test runs after a collectstatic.
WHITENOISE_AUTOREFRESH = True
