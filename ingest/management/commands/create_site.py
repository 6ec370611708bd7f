"""`manage.py create_site`: a site with its keys, and its owner when there is none yet."""

import json
import secrets
from argparse import ArgumentParser
from typing import Any
from zoneinfo import available_timezones

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import OperationalError, ProgrammingError, transaction

from ingest.cors import normalise_origin
from ingest.currencies import CURRENCIES
from ingest.models import Membership, Organisation, Role, ServerKey, Site

MAX_SITE_NAME_CHARS = 100
MAX_EMAIL_CHARS = 150  # the user name, which is the address here
PASSWORD_BYTES = 15  # 20 characters, twice what the sign-in asks for


class Command(BaseCommand):
    """Make a site, its server key, and its owner if needed. What is secret is printed once and kept nowhere."""

    help = "Create a site with its keys. Its owner is made if nobody signs in with that e-mail address yet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the site is called on the pages")
        parser.add_argument(
            "--owner", required=True, metavar="EMAIL", help="who owns it and signs in with this address"
        )
        parser.add_argument("--password", help="of a new owner; without it one is made up and printed")
        parser.add_argument(
            "--origin",
            action="append",
            default=[],
            dest="origins",
            help="a page's origin that may send, such as https://shop.example; may be given again; none means any",
        )
        parser.add_argument("--currency", default="USD", help="of values that come without one (default: USD)")
        parser.add_argument(
            "--time-zone", default="UTC", help="of the site's days, such as Europe/Berlin (default: UTC)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        site_fields = {
            "name": _read_name(options["name"]),
            "allowed_origins": [_read_origin(origin) for origin in options["origins"]],
            "currency": _one_of(CURRENCIES, options["currency"], "currency in which Microsoft takes conversions"),
            "time_zone": _one_of(available_timezones(), options["time_zone"], "time zone"),
        }
        email = _read_email(options["owner"])
        try:
            made = _create(site_fields, email, options["password"])
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(f"The database is not ready ({error}). Run manage.py migrate first.") from error
        self.stdout.write(json.dumps(made) if options["json"] else "\n".join(f"{k}: {v}" for k, v in made.items()))


@transaction.atomic
def _create(site_fields: dict[str, Any], email: str, password: str | None) -> dict[str, str]:
    owner = User.objects.filter(email__iexact=email).first()
    secret = {}
    if owner is None:
        made_up = secrets.token_urlsafe(PASSWORD_BYTES)
        owner = _create_owner(email, password or made_up)
        secret = {} if password else {"password": made_up}
    elif password:
        raise CommandError(f"{email} has an account already. Leave --password out: it would not be changed.")
    site = Site.objects.create(organisation=_organisation_of(owner, site_fields["name"]), **site_fields)
    _, server_key = ServerKey.objects.mint(site, "create_site")
    return {
        "site_id": str(site.public_id),
        "name": site.name,
        "write_key": site.write_key,
        "server_key": server_key,
        "owner": email,
        **secret,
    }


def _create_owner(email: str, password: str) -> User:
    owner = User(username=email, email=email)
    try:
        validate_password(password, owner)
    except ValidationError as error:
        raise CommandError(f"The password cannot be taken. {' '.join(error.messages)}") from error
    owner.set_password(password)
    owner.save()
    return owner


def _organisation_of(owner: User, name: str) -> Organisation:
    """Return the first organisation that the person owns; a new one, named like the site, for a newcomer."""
    owned = Organisation.objects.filter(memberships__user=owner, memberships__role=Role.OWNER).order_by("pk").first()
    if owned is not None:
        return owned
    organisation = Organisation.objects.create(name=name)
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    return organisation


def _read_name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > MAX_SITE_NAME_CHARS or not name.isprintable():
        raise CommandError(f"The site's name must have 1 to {MAX_SITE_NAME_CHARS} printable characters.")
    return name


def _read_email(text: str) -> str:
    email = text.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise CommandError(f"--owner must be an e-mail address, not {text!r}.") from error
    if len(email) > MAX_EMAIL_CHARS:
        raise CommandError("--owner is too long for an e-mail address to sign in with.")
    return email


def _read_origin(text: str) -> str:
    try:
        return normalise_origin(text)
    except ValueError as error:
        raise CommandError(f"--origin must be like https://shop.example, without a path, not {text!r}.") from error


def _one_of(known: frozenset[str] | set[str], text: str, kind: str) -> str:
    if text not in known:
        raise CommandError(f"{text!r} is no {kind}.")
    return text
