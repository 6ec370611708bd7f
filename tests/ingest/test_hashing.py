"""Personal data is hashed as Microsoft's pages say, and nothing else is."""

import hashlib

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ingest.hashing import (
    SHA256_OF_NOTHING,
    hash_email,
    hash_phone,
    is_country,
    is_sha256,
    normalise_email,
    normalise_phone,
)

JOHN = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"  # the CAPI guide's sample
EMAILS = [
    ("john@contoso.com", "john@contoso.com", JOHN),
    ("  John@Contoso.COM ", "john@contoso.com", JOHN),
    ("\ufeffjohn@contoso.com", "john@contoso.com", JOHN),
    (
        "name+withplus@outlook.com",
        "name@outlook.com",
        "62de920b6b0a90e990ad75450ee49bd908958c81185bf57489a090179dadedec",
    ),
    (
        "ex.ample@outlook.com",
        "example@outlook.com",
        "e2e7dbfa5e7b07f94e15295f700a2a9b486799848797cf3e0ddeae7425862f93",
    ),
    (
        "Jane.Doe+Shopping@contoso.com",
        "janedoe@contoso.com",
        "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a",
    ),
    (
        " Jean.René @Example.CO.UK",
        "jeanrene@example.co.uk",
        "1c45202666bc4b8ab6f85c148e3dc96d9053424e5712ec7666a8662428ae9d79",
    ),
    (
        "j.smith@mail.example.com",
        "jsmith@mail.example.com",
        "3ca7fa2146feff5e6554f17db7979740d7b81b8dfcb529645c51b80d3203cafe",
    ),
]
NO_EMAILS = [
    "user@localhost",
    "+tag@x.com",
    "...@x.com",
    "",
    "@",
    "x@.com",
    "x@com.",
    "nobody",
    "a\0b@x.com",
    f"{'a' * 400}@x.com",
]

PHONES = [
    # The CAPI guide's sample: the + is part of what is hashed.
    ("(425) 555-1234", "US", "+14255551234", "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"),
    ("07911 123456", "GB", "+447911123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
    ("06 12 34 56 78", "FR", "+33612345678", "42d573cfc315801d4cd8eddd5416b416a0bf298b9b9e12d6b07442c91db42bd8"),
    ("0049 151 12345678", "", "+4915112345678", "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b"),
    ("0049 151 12345678", "US", "+4915112345678", "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b"),
    ("+1 425 555 1234 ext. 7", "", "+14255551234", "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"),
]
NO_PHONES = [
    ("(425) 555-1234", ""),
    ("12", "US"),
    ("", "US"),
    ("call me", "US"),
    ("9" * 5000, "US"),
    ("+", ""),
    ("\0", "GB"),
]


class EmailTests(SimpleTestCase):
    def test_it_normalises_and_hashes_as_microsoft_does(self) -> None:
        for text, normalised, sha256 in EMAILS:
            with self.subTest(text):
                self.assertEqual(normalise_email(text), normalised)
                self.assertEqual(hash_email(text), sha256)

    def test_it_refuses_what_is_no_address_without_repeating_it(self) -> None:
        for text in NO_EMAILS:
            with self.subTest(text), self.assertRaisesMessage(ValueError, "This is not an e-mail address."):
                hash_email(text)

    @given(st.emails())
    def test_normalising_twice_changes_nothing(self, text: str) -> None:
        try:
            once = normalise_email(text)
        except ValueError:
            return  # RFC 5321 knows users that are nothing but an alias
        self.assertEqual(normalise_email(once), once)

    @given(st.text())
    def test_any_text_is_an_address_or_a_value_error(self, text: str) -> None:
        try:
            normalised = normalise_email(text)
        except ValueError:
            return
        self.assertIn("@", normalised)


class PhoneTests(SimpleTestCase):
    def test_it_normalises_and_hashes_as_microsoft_does(self) -> None:
        for text, country, normalised, sha256 in PHONES:
            with self.subTest(text, country=country):
                self.assertEqual(normalise_phone(text, country), normalised)
                self.assertEqual(hash_phone(text, country), sha256)

    def test_it_refuses_what_is_no_number_or_has_no_country(self) -> None:
        for text, country in NO_PHONES:
            with self.subTest(text[:20], country=country), self.assertRaises(ValueError):
                hash_phone(text, country)

    def test_the_error_never_repeats_the_number(self) -> None:
        with self.assertRaises(ValueError) as caught:
            hash_phone("425 555 1234")
        self.assertNotIn("555", str(caught.exception))

    @given(st.text(), st.sampled_from(["", "US", "GB", "DE"]))
    def test_any_text_is_e164_or_a_value_error(self, text: str, country: str) -> None:
        try:
            normalised = normalise_phone(text, country)
        except ValueError:
            return
        self.assertRegex(normalised, r"^\+[0-9]{2,15}$")


class HashedAlreadyTests(SimpleTestCase):
    def test_it_knows_a_hash_by_its_look(self) -> None:
        self.assertTrue(is_sha256(JOHN))
        self.assertTrue(is_sha256(JOHN.upper()))
        for text in ("", JOHN[:-1], JOHN + "0", "g" * 64, f"{JOHN}\n", "jane@example.com"):
            with self.subTest(text):
                self.assertFalse(is_sha256(text))

    def test_it_knows_the_hash_of_nothing(self) -> None:
        self.assertEqual(hashlib.sha256(b"").hexdigest(), SHA256_OF_NOTHING)

    def test_it_knows_countries_by_two_letters(self) -> None:
        self.assertTrue(is_country("US"))
        self.assertTrue(is_country("gb"))
        self.assertFalse(is_country("USA"))
        self.assertFalse(is_country("ZZ"))
        self.assertFalse(is_country("ß"))
