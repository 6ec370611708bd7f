"""Microsoft's normalising and hashing of e-mail addresses and phone numbers, done at the door.

What leaves here is lower-case hexadecimal SHA-256, unsalted, because Microsoft compares it with its own. The rules
are not Google's: full stops and `+alias` go on every domain, and a phone number's `+` is part of what is hashed.
Errors name the rule and never the value.

Source: help "Enhanced conversions" and guides/uet-conversion-api-integration.
"""

import hashlib
import re
import unicodedata

import phonenumbers

MAX_EMAIL_CHARS = 320  # 64 before the @, 255 after it (RFC 5321, section 4.5.3.1)
SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()

_SHA256 = re.compile(r"[0-9a-f]{64}")


def normalise_email(text: str) -> str:
    """Return the address as Microsoft hashes it; ValueError when it is no address."""
    decomposed = unicodedata.normalize("NFKD", text[: MAX_EMAIL_CHARS + 1])
    # Spreadsheets put a byte order mark before text. JavaScript, and so the SDK, takes it for a space.
    spaceless = (c for c in decomposed if not c.isspace() and c != "\ufeff")
    plain = "".join(c for c in spaceless if not unicodedata.combining(c)).lower()
    user, at, domain = plain.rpartition("@")
    user = user.partition("+")[0].replace(".", "")
    is_address = at and user and "." in domain and not domain.startswith(".") and not domain.endswith(".")
    if not is_address or not plain.isprintable() or len(text) > MAX_EMAIL_CHARS:
        raise ValueError("This is not an e-mail address.")
    return f"{user}@{domain}"


def normalise_phone(text: str, country: str = "") -> str:
    """Return the number in E.164 with its `+`; ValueError when it is none, or national and its country is unknown.

    `country` is two letters (ISO 3166-1), as `is_country` takes them.
    """
    number = re.sub(r"^\s*00", "+", text)
    try:
        parsed = phonenumbers.parse(number, country.upper() or None)
    except phonenumbers.NumberParseException as error:
        raise ValueError("This is not a phone number, or its country is missing.") from error
    if not phonenumbers.is_possible_number(parsed):
        raise ValueError("No phone number has this many digits in its country.")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def hash_email(text: str) -> str:
    """Return the SHA-256 of the normalised address; ValueError as `normalise_email`."""
    return _sha256(normalise_email(text))


def hash_phone(text: str, country: str = "") -> str:
    """Return the SHA-256 of the number in E.164; ValueError as `normalise_phone`."""
    return _sha256(normalise_phone(text, country))


def is_country(text: str) -> bool:
    """Say whether the text is the code of a country with phone numbers; case does not matter."""
    return text.isascii() and text.upper() in phonenumbers.SUPPORTED_REGIONS  # in capitals ß is SS, a country


def is_sha256(text: str) -> bool:
    """Say whether the lower-cased text has the shape of a hash, so that nothing is hashed twice or sent plain."""
    return _SHA256.fullmatch(text.lower()) is not None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
