"""System checks: what would start, and then fail or leak. Errors stop the start, warnings are printed.

SECRET_KEY and FIELD_ENCRYPTION_KEYS missing or malformed never come this far: settings.py refuses to load.
"""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import NotRelationField, flatten_fieldsets, get_fields_from_path
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from convultra.encryption import encrypted_models
from convultra.fields import ROW_ID, EncryptedText

# What Django's own generator makes; its deployment check (security.W009) asks for the same.
MIN_SECRET_KEY_CHARS = 50
MIN_SECRET_KEY_UNIQUE_CHARS = 5
MICROSOFT_CREDENTIALS = ("MICROSOFT_CLIENT_ID", "MICROSOFT_CLIENT_SECRET", "MICROSOFT_DEVELOPER_TOKEN")
MICROSOFT_ADDRESSES = ("MICROSOFT_LOGIN_URL", "MICROSOFT_CAMPAIGN_URL", "MICROSOFT_CUSTOMER_URL")


@checks.register(checks.Tags.security)
def secret_key_is_strong(**_: object) -> list[checks.CheckMessage]:
    """E001: a guessable SECRET_KEY signs anyone's session. Not asked while DEBUG is on."""
    key: str = settings.SECRET_KEY
    is_strong = len(key) >= MIN_SECRET_KEY_CHARS and len(set(key)) >= MIN_SECRET_KEY_UNIQUE_CHARS
    if settings.DEBUG or (is_strong and not key.startswith("django-insecure-")):
        return []
    return [
        checks.Error(
            f"SECRET_KEY is shorter than {MIN_SECRET_KEY_CHARS} characters, repetitive, or a published default.",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe(50))"',
            id="convultra.E001",
        )
    ]


@checks.register(checks.Tags.models)
def secrets_are_bound_to_a_row(**_: object) -> list[checks.CheckMessage]:
    """E002: an encrypted column whose model has no UUID made before the insert cannot be written."""
    return [
        checks.Error(
            f"{model._meta.label} has an encrypted column but no {ROW_ID}.",
            hint=f"Add {ROW_ID} = models.UUIDField(default=uuid.uuid4, unique=True, editable=False).",
            obj=model,
            id="convultra.E002",
        )
        for model in encrypted_models()
        if not _has_row_id(model)
    ]


@checks.register(checks.Tags.admin)
def admin_names_no_secret(**_: object) -> list[checks.CheckMessage]:
    """E003: an encrypted column named by the admin would be decrypted onto a page. Forms refuse it by themselves."""
    return [
        checks.Error(
            f"{type(page).__name__} names the encrypted column {name!r}.",
            hint="Show a property that says whether there is a token, never the token.",
            obj=type(page),
            id="convultra.E003",
        )
        for page in _admin_pages()
        for name in sorted(set(_names(page)))
        if _is_encrypted(page.model, name)
    ]


@checks.register(checks.Tags.security)
def public_url_is_private(**_: object) -> list[checks.CheckMessage]:
    """W001: over http, passwords, sessions and server keys cross the network in clear."""
    if settings.DEBUG or not _is_clear_text(settings.PUBLIC_URL):
        return []
    return [
        checks.Warning(
            f"PUBLIC_URL is {settings.PUBLIC_URL}: passwords and keys cross the network unencrypted.",
            hint="Serve it behind TLS and set PUBLIC_URL=https://…; Microsoft takes only https redirect addresses.",
            id="convultra.W001",
        )
    ]


@checks.register
def microsoft_credentials_are_set(**_: object) -> list[checks.CheckMessage]:
    """W002: without the operator's own credentials nobody can connect Microsoft Ads."""
    missing = [name for name in MICROSOFT_CREDENTIALS if not getattr(settings, name)]
    if not missing:
        return []
    return [
        checks.Warning(
            f"Connecting Microsoft Ads cannot work: {', '.join(missing)} not set.",
            hint="README.md, “Credentials from Microsoft”, says where to get them.",
            id="convultra.W002",
        )
    ]


@checks.register(checks.Tags.security)
def microsoft_is_called_in_private(**_: object) -> list[checks.CheckMessage]:
    """W003: a Microsoft address over http, other than an emulator's on this machine, would carry tokens in clear."""
    return [
        checks.Warning(
            f"{name} is {getattr(settings, name)}: tokens cross the network unencrypted.",
            hint=f"Leave {name} unset to reach Microsoft itself.",
            id="convultra.W003",
        )
        for name in MICROSOFT_ADDRESSES
        if _is_clear_text(getattr(settings, name))
    ]


@checks.register(checks.Tags.security)
def demo_stays_at_home(**_: object) -> list[checks.CheckMessage]:
    """W004: the demo prints its login on its own sign-in page."""
    if not settings.DEMO or _is_loopback(settings.PUBLIC_URL):
        return []
    return [
        checks.Warning(
            f"DEMO is on at {settings.PUBLIC_URL}: everyone who finds the sign-in page can use it.",
            hint="Unset DEMO, or keep PUBLIC_URL on localhost.",
            id="convultra.W004",
        )
    ]


def _has_row_id(model: type[models.Model]) -> bool:
    try:
        row_id = model._meta.get_field(ROW_ID)
    except FieldDoesNotExist:
        return False
    return isinstance(row_id, models.UUIDField) and row_id.has_default() and callable(row_id.default)


def _admin_pages() -> "Iterator[BaseModelAdmin[models.Model]]":
    for page in admin.site._registry.values():
        yield page
        for inline in page.inlines:
            yield inline(page.model, admin.site)


def _names(page: "BaseModelAdmin[models.Model]") -> Iterator[str]:
    """Yield every name an admin page or inline lists statically, search prefixes (`=`, `^`, `@`) removed."""
    yield from flatten_fieldsets(page.fieldsets or [])
    for option in ("fields", "readonly_fields", "list_display", "list_filter", "search_fields", "ordering"):
        for entry in getattr(page, option, None) or ():
            for name in entry if isinstance(entry, list | tuple) else [entry]:
                if isinstance(name, str):
                    yield name.lstrip("=^@-")


def _is_encrypted(model: type[models.Model], path: str) -> bool:
    """Say whether `path`, or what it starts with before a lookup, ends at an encrypted column."""
    parts = path.split("__")
    return any(isinstance(_column(model, "__".join(parts[: n + 1])), EncryptedText) for n in range(len(parts)))


def _column(model: type[models.Model], path: str) -> object:
    try:
        return get_fields_from_path(model, path)[-1]
    except (FieldDoesNotExist, NotRelationField):
        return None  # a method, a property or a lookup


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_clear_text(address: str) -> bool:
    return urlsplit(address).scheme == "http" and not _is_loopback(address)
