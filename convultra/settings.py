"""Settings, read from the environment (and from a `.env` file beside manage.py). docs/settings.md names every one.

Nothing here has a default that would be dangerous in production: without SECRET_KEY and FIELD_ENCRYPTION_KEYS
the process does not start. `make demo` makes both for itself.
"""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
KIBIBYTE = 1024
MAX_NUMBER = 1_000_000_000  # seconds, or requests a second: what is computed from it stays finite

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def _number(name: str, default: float) -> float:
    """Read a number of seconds, or one per second; zero is allowed, nonsense stops the start."""
    try:
        value: float = env.float(name, default=float(default))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a number, not {env.str(name)!r}.") from error
    if not 0 <= value <= MAX_NUMBER:
        raise ImproperlyConfigured(f"{name} must be from 0 to {MAX_NUMBER:,}.")
    return value


def _whole_number(name: str, default: int) -> int:
    """Read a count; nonsense stops the start."""
    try:
        value: int = env.int(name, default=default)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {env.str(name)!r}.") from error
    if value < 0:
        raise ImproperlyConfigured(f"{name} must not be negative.")
    return value


def _base_address(name: str, default: str) -> str:
    """Read a base address, `scheme://host[:port]`, without a trailing slash."""
    value: str = env.str(name, default=default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ImproperlyConfigured(f"{name} must be an address such as https://example.com, not {value!r}.")
    return value


def _version_of(directory: Path) -> str:
    """Return a name for what the files of a directory, and those that packages bring, hold now."""
    digest = hashlib.sha256((BASE_DIR / "requirements.txt").read_bytes())
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(path.relative_to(directory).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:10]


def _fernet_keys(name: str) -> list[str]:
    """Read the key ring, newest first; each key must be one `Fernet.generate_key()` made."""
    keys: list[str] = env.list(name, default=[])
    if not keys:
        raise ImproperlyConfigured(
            f"{name} is not set. Make a key with: "
            'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        )
    for key in keys:
        try:
            Fernet(key)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} holds a key that is not 32 url-safe base64 bytes.") from error
    return keys


# Who and where

SECRET_KEY: str = env.str("SECRET_KEY")
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG: bool = env.bool("DEBUG", default=False)
PUBLIC_URL = _base_address("PUBLIC_URL", "http://localhost:8000")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[urlsplit(PUBLIC_URL).hostname or "localhost"])
IS_SECURE = urlsplit(PUBLIC_URL).scheme == "https"
# One proxy of the operator's stands in front: what it says of the caller in X-Forwarded-* is believed.
BEHIND_PROXY: bool = env.bool("BEHIND_PROXY", default=False)
# Serves the demo shop and fills the sign-in form. Only `make demo` sets it.
DEMO: bool = env.bool("DEMO", default=False)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "axes",
    "csp",
    "django_htmx",
    "django_q",
    "convultra.apps.ConvultraConfig",
    "ingest.apps.IngestConfig",
    "integrations.apps.IntegrationsConfig",
    "forwarding.apps.ForwardingConfig",
    "dashboard.apps.DashboardConfig",
]

MIDDLEWARE = [
    "ingest.middleware.WithoutCookies",
    "django.middleware.security.SecurityMiddleware",
    "convultra.compression.CompressionMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "dashboard.tickets.gate.TicketGate",
]

ROOT_URLCONF = "convultra.urls"
WSGI_APPLICATION = "convultra.wsgi.application"
ASGI_APPLICATION = "convultra.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# So that a template of ours may stand in for one of the admin's widgets.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Rows

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'convultra.sqlite3'}")
}
_database = DATABASES["default"]
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {
        # A writer takes its lock when it begins, so it waits instead of failing half-way.
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        # 8 MiB of cached pages a connection: the kernel has the file, and 64 made nothing faster but every process fat.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-8192;",
    }
else:
    # Questions here take milliseconds; compiling one takes a second, and the planner does so for what it overrates.
    _database.setdefault("OPTIONS", {}).update(connect_timeout=2, options="-c statement_timeout=30000 -c jit=off")
    # Under ASGI every request has a thread of its own, so connections are shared through a pool. `manage.py web`
    # asks for one; commands and workers, which fork, keep one plain connection each.
    _pool_size = _whole_number("DATABASE_POOL_SIZE", 0)
    if _pool_size:
        # A pool that cannot connect waits twice as long before each try, and would come back as late as the outage was
        # long. After this many seconds it gives up, and the next request makes it try at once.
        _pool = {"min_size": 1, "max_size": _pool_size, "timeout": 2, "reconnect_timeout": 1}
        _database["OPTIONS"]["pool"] = _pool
    else:
        _database["CONN_MAX_AGE"] = MINUTE
    _database["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL: str = env.str("REDIS_URL", default="")
if REDIS_URL:
    # A Redis that takes connections and says nothing must not keep a request, or the watchdog, waiting.
    REDIS_URL += f"{'&' if '?' in REDIS_URL else '?'}socket_connect_timeout=2&socket_timeout=5"
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

FIELD_ENCRYPTION_KEYS = _fernet_keys("FIELD_ENCRYPTION_KEYS")
# The name django-encrypted-model-fields reads. Newest first: the first encrypts, all decrypt.
FIELD_ENCRYPTION_KEY = FIELD_ENCRYPTION_KEYS

# People

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard:sites"
ACCOUNT_ADAPTER = "dashboard.people.sign_in.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = "username"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = None  # asked at sign-in
MFA_ADAPTER = "dashboard.people.two_step.SecretsAdapter"
MFA_TOTP_ISSUER = "Convultra"
MFA_TOTP_TOLERANCE = 1  # a clock half a minute off is common, and RFC 6238 allows for it
MFA_ALLOW_UNVERIFIED_EMAIL = True  # who came by an invitation has received its mail
ACCOUNT_FORMS = {"change_password": "dashboard.people.me.PasswordForm"}
# Of X-Forwarded-For only the last address is the proxy's word; those before it are the client's.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0
AXES_CLIENT_IP_CALLABLE = "dashboard.people.sign_in.client_address"
AXES_VERBOSE = False
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 15 * MINUTE / HOUR  # axes counts in hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_CALLABLE = "dashboard.people.sign_in.attempted_email"
AXES_LOCKOUT_CALLABLE = "dashboard.people.sign_in.too_many_attempts"

# Cookies and headers

SESSION_COOKIE_NAME = "__Host-session" if IS_SECURE else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if IS_SECURE else "csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Lax, not Strict: Microsoft sends the person back by a cross-site GET that has to carry the session.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * DAY
CSRF_FAILURE_VIEW = "convultra.errors.forbidden"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", default=False)
SECURE_HSTS_SECONDS = 365 * DAY if IS_SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_SECURE
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        # Widths of bars and columns are style attributes; style elements stay forbidden.
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    name: [] for name in ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * KIBIBYTE

# Language, time, files

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
# What the admin writes of moments; pages name their own format wherever they write one.
FORMAT_MODULE_PATH = "convultra.formats"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Other files have another address, so browsers may keep these for ever, and never mix two releases.
STATIC_URL = f"/static/{_version_of(STATICFILES_DIRS[0])}/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_IMMUTABLE_FILE_TEST = "(?!)" if DEBUG else "."
# Where mails go, such as smtp+tls://user:password@mail.example.com:587; the log when nothing is said.
globals().update(env.email("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 10  # seconds for each answer of the mail server; without one a silent server is waited for for ever
# Who runs this server: told by mail when Convultra itself needs a person.
ALERT_EMAILS: list[str] = env.list("ALERT_EMAILS", default=[])
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default="convultra@localhost")

# The door

# What one key, and one address, may send; 0 is no limit. Bursts of ten seconds' worth are let through.
KEY_REQUESTS_PER_SECOND = _number("KEY_REQUESTS_PER_SECOND", 500)
ADDRESS_REQUESTS_PER_SECOND = _number("ADDRESS_REQUESTS_PER_SECOND", 20)

# Microsoft

MICROSOFT_CLIENT_ID: str = env.str("MICROSOFT_CLIENT_ID", default="")
MICROSOFT_CLIENT_SECRET: str = env.str("MICROSOFT_CLIENT_SECRET", default="")
MICROSOFT_DEVELOPER_TOKEN: str = env.str("MICROSOFT_DEVELOPER_TOKEN", default="")
MICROSOFT_ENVIRONMENT: str = env.str("MICROSOFT_ENVIRONMENT", default="production")
if MICROSOFT_ENVIRONMENT not in {"production", "sandbox"}:
    raise ImproperlyConfigured("MICROSOFT_ENVIRONMENT is either production or sandbox.")
_sandbox = ".sandbox" if MICROSOFT_ENVIRONMENT == "sandbox" else ""
MICROSOFT_LOGIN_URL = _base_address("MICROSOFT_LOGIN_URL", "https://login.microsoftonline.com")
MICROSOFT_CAMPAIGN_URL = _base_address(
    "MICROSOFT_CAMPAIGN_URL", f"https://campaign.api{_sandbox}.bingads.microsoft.com"
)
MICROSOFT_CUSTOMER_URL = _base_address(
    "MICROSOFT_CUSTOMER_URL", f"https://clientcenter.api{_sandbox}.bingads.microsoft.com"
)

# Forwarding

# Microsoft asks for an hour between click and upload, and two between a goal's creation and its first conversion.
CLICK_SETTLE_SECONDS = _number("CLICK_SETTLE_SECONDS", 1 * HOUR)
GOAL_SETTLE_SECONDS = _number("GOAL_SETTLE_SECONDS", 2 * HOUR)
# Microsoft takes up to six hours to process a conversion; a correction that comes earlier is lost without a word.
ADJUSTMENT_SETTLE_SECONDS = _number("ADJUSTMENT_SETTLE_SECONDS", 6 * HOUR)
# A short batch waits this long for company.
UPLOAD_LINGER_SECONDS = _number("UPLOAD_LINGER_SECONDS", 30)
# One call to Microsoft, from the first byte sent to the last one read.
UPLOAD_TIMEOUT_SECONDS = _number("UPLOAD_TIMEOUT_SECONDS", 60)
# How long an upload belongs to the worker that opened it. Longer than the call it makes, or two would send at once.
LEASE_SECONDS = _number("LEASE_SECONDS", 90)
if LEASE_SECONDS <= UPLOAD_TIMEOUT_SECONDS:
    raise ImproperlyConfigured("LEASE_SECONDS must be longer than UPLOAD_TIMEOUT_SECONDS.")
SWEEP_SECONDS = _number("SWEEP_SECONDS", 5)
# The least wait after Microsoft says that we call too often.
THROTTLE_SECONDS = _number("THROTTLE_SECONDS", 60)
# Waits between tries, in seconds; the last one repeats until the conversion is too old. docs/settings.md explains.
RETRY_LADDER_SECONDS: list[int] = env.list(
    "RETRY_LADDER_SECONDS",
    cast=int,
    default=[
        30,
        *(minutes * MINUTE for minutes in (1, 2, 4, 8, 16, 30)),
        *[1 * HOUR] * 23,  # until a day has passed
        6 * HOUR,
    ],
)
if not RETRY_LADDER_SECONDS or min(RETRY_LADDER_SECONDS) < 0:
    raise ImproperlyConfigured("RETRY_LADDER_SECONDS needs at least one step, none negative.")
# Tests name a place in `convultra.failpoints` where a process shall die.
FAILPOINT: str = env.str("FAILPOINT", default="")
# The worker starts its cluster anew when no sweep has come back for so long.
WATCHDOG_SECONDS = _number("WATCHDOG_SECONDS", 90)

Q_CLUSTER: dict[str, Any] = {
    "name": "convultra",
    "workers": _whole_number("WORKERS", 2),
    "timeout": 4 * MINUTE,
    "retry": 5 * MINUTE,  # must be longer than the timeout, or a slow task is started twice
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "bulk": 1,
    "recycle": 500,
    "guard_cycle": 0.5,
    "label": "Queue",
}
if REDIS_URL:
    Q_CLUSTER["redis"] = REDIS_URL
else:
    Q_CLUSTER |= {"orm": "default", "poll": 0.5 if _database["ENGINE"].endswith("sqlite3") else 0.2}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "convultra.logging.JsonLines"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    # It says two lines for every task, and a sweep is one every few seconds.
    "loggers": {"django-q": {"level": "WARNING"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
