"""How personal data is normalised and hashed in the browser, by Microsoft's rule and with its own examples."""

import json
import re

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from ingest.hashing import hash_email, hash_phone

from .conftest import SDK, Answer, Shop

pytestmark = pytest.mark.browser

JOHN = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"
PHONE = "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"
SOURCE = SDK.parent / "source/convultra.v1.js"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _user_data(shop: Shop) -> dict[str, str] | None:
    """Return what the one event sent says of the person."""
    (event,) = shop.sent("events")
    user_data: dict[str, str] | None = event.get("user_data")
    return user_data or None


class TestTheEmail:
    @pytest.mark.parametrize(
        ("email", "expected"),
        [
            ("john@contoso.com", JOHN),
            ("  John@Contoso.COM ", JOHN),
            ("name+withplus@outlook.com", "62de920b6b0a90e990ad75450ee49bd908958c81185bf57489a090179dadedec"),
            ("ex.ample@outlook.com", "e2e7dbfa5e7b07f94e15295f700a2a9b486799848797cf3e0ddeae7425862f93"),
            ("Jane.Doe+Shopping@contoso.com", "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a"),
            (" Jean.René @Example.CO.UK", "1c45202666bc4b8ab6f85c148e3dc96d9053424e5712ec7666a8662428ae9d79"),
            ("j.smith@mail.example.com", "3ca7fa2146feff5e6554f17db7979740d7b81b8dfcb529645c51b80d3203cafe"),
            (JOHN, JOHN),
            (JOHN.upper(), JOHN),
        ],
    )
    def test_it_is_hashed_by_microsoft_s_rule(self, shop: Shop, email: str, expected: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{email: {email!r}}}); Convultra.trackLead()")
        assert _user_data(shop) == {"email_sha256": expected}

    @pytest.mark.parametrize(
        "email",
        [
            "user@localhost",
            "+tag@x.com",
            "jane",
            "@x.com",
            "...@x.com",
            "a@.com",
            "a@x.com.",
            "a@",
            "",
            "a\u200b@x.com",
            "a@x.com@bad",
            EMPTY,
        ],
    )
    def test_one_that_is_none_is_dropped_with_a_warning(self, shop: Shop, email: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{email: {email!r}}}); Convultra.trackLead()")
        assert _user_data(shop) is None
        assert shop.console.warnings == ["Convultra: not usable: email"]


class TestThePhone:
    @pytest.mark.parametrize(
        ("phone", "expected"),
        [
            ("+14255551234", PHONE),
            ("+1 (425) 555-1234", PHONE),
            ("001 425 555 1234", PHONE),
            ("+44 7911 123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
            ("+44 (0)7911 123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
            ("+33 6 12 34 56 78", "42d573cfc315801d4cd8eddd5416b416a0bf298b9b9e12d6b07442c91db42bd8"),
            ("0049 151 12345678", "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b"),
            (PHONE.upper(), PHONE),
        ],
    )
    def test_it_is_hashed_with_its_plus(self, shop: Shop, phone: str, expected: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{phone: '{phone}'}}); Convultra.trackLead()")
        assert _user_data(shop) == {"phone_sha256": expected}

    @pytest.mark.parametrize(
        "phone",
        ["(425) 555-1234", "07911 123456", "14255551234", "+", "+1 425 555 1234 ext 5", "+1425+44", "+" + "1" * 16],
    )
    def test_one_of_no_sure_country_is_dropped_with_a_warning(self, shop: Shop, phone: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{phone: '{phone}'}}); Convultra.trackLead()")
        assert _user_data(shop) is None
        assert shop.console.warnings == ["Convultra: not usable: phone"]


class TestTheNationalPhone:
    """A number without `+` is read where its country's plan leaves no doubt, and as phonenumbers reads it."""

    def _countries(self) -> list[str]:
        (table,) = re.findall(r'const PHONES = "([^"]+)"', SOURCE.read_text())
        return re.findall(r"[A-Z]{2}", table)

    def test_every_country_of_the_table_is_read_as_phonenumbers_does(self, shop: Shop) -> None:
        kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
        found = [
            (country, phonenumbers.example_number_for_type(country, kind))
            for country in self._countries()
            for kind in kinds
        ]
        examples = [(country, number) for country, number in found if number is not None]
        shop.visit()
        for country, number in examples:
            text = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
            shop.page.evaluate(
                "async ([phone, country]) => { Convultra.enhance({phone, country}); Convultra.track('a') }",
                [text, country],
            )
        shop.settle()
        expected = [hash_phone(phonenumbers.format_number(number, PhoneNumberFormat.E164)) for _, number in examples]
        shop.wait_for(lambda: len(shop.sent("events")) == len(examples))
        assert [event["user_data"]["phone_sha256"] for event in shop.sent("events")] == expected
        assert len(examples) >= 25

    @pytest.mark.parametrize("person", ["country: 'us'", "address: {country: 'US', city: 'Reno'}"])
    def test_the_country_may_stand_beside_it_or_in_the_address(self, shop: Shop, person: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{phone: '(425) 555-1234', {person}}}); Convultra.trackLead()")
        assert _user_data(shop) == {"phone_sha256": PHONE}
        assert "Reno" not in str(shop.requests[-1].post_data)

    def test_seven_digits_after_the_0_are_a_number(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.enhance({phone: '08-123 456', country: 'SE'}), Convultra.trackLead()")
        assert _user_data(shop) == {"phone_sha256": hash_phone("08-123 456", "SE")}

    def test_what_leaves_a_doubt_is_dropped(self, shop: Shop) -> None:
        doubtful = [("DE", "151 12345678"), ("US", "425555123"), ("US", "1425555123"), ("GB", "447911123456")]
        doubtful += [(country, "0612345678") for country in ("", "E", "XX", "..", "US1", "IT", "DE49")]
        doubtful += [("DE", "01"), ("GB", "020"), ("DE", "030 1234"), ("AT", "01 4000")]  # fragments
        shop.visit()
        for country, phone in doubtful:
            shop.do(f"Convultra.enhance({{phone: '{phone}', country: '{country}'}}); Convultra.track('a')")
        assert [event.get("user_data") or None for event in shop.sent("events")] == [None] * len(doubtful)


class TestTheDoor:
    """Browser and backend must hash alike, or their events of one person never meet."""

    @pytest.mark.parametrize(
        "email",
        [
            "Ö.Zdemir+a+b@Straße.DE",
            "İpek@x.com",
            "ﬁona@ｘ.com",
            "a b\u00a0c\t@x.com",
            "a@b@x.com",
            "a@x.com@",
            "a@x@com",
            "a..b.@x..com",
            "Σίσυφος@x.gr",
            "+@x.com",
            "a\u0000@x.com",
            "a@-.-",
        ],
    )
    def test_it_hashes_an_email_alike(self, shop: Shop, email: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{email: {json.dumps(email)}}}); Convultra.trackLead()")
        try:
            expected: dict[str, str] | None = {"email_sha256": hash_email(email)}
        except ValueError:
            expected = None
        assert _user_data(shop) == expected

    @pytest.mark.parametrize(
        "phone",
        [
            "+1 425.555.1234",
            "+1 1 425 555 1234",
            " 0044 (0)20 7946 0958",
            "+49 (0) 30 901820",
            "+49-30/901820",
            "+44 020 7946 0958",
            "+49 0171 1234567",
            "+33 06 12 34 56 78",
            "+39 06 1234567",
            "+39 312 345 6789",
            "+7 905 123-45-67",
            "+420 601 123 456",
            "+380 50 123 4567",
            "+81 90 1234 5678",
            "+34 600 123 456",
        ],
    )
    def test_it_hashes_a_phone_alike(self, shop: Shop, phone: str) -> None:
        shop.visit()
        shop.do(f"Convultra.enhance({{phone: {phone!r}}}); Convultra.trackLead()")
        assert _user_data(shop) == {"phone_sha256": hash_phone(phone)}

    @pytest.mark.parametrize(
        "phone", ["+1234567", "+44 12345", "+81 090 1234 5678", "+972 (0)54 123 4567", "+1 0425 555 1234"]
    )
    def test_it_makes_no_hash_that_the_door_would_not(self, shop: Shop, phone: str) -> None:
        """A 0 that only the server knows how to read, and a number that is too short."""
        shop.visit()
        shop.do(f"Convultra.enhance({{phone: {phone!r}}}); Convultra.trackLead()")
        assert _user_data(shop) is None


class TestThePerson:
    def test_the_address_stays_in_the_browser(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.enhance({email: 'john@contoso.com', address: {city: 'Reno', street: 'Elm Street 1'}})")
        shop.do("Convultra.trackLead({address: 'Elm Street 1'})")
        assert "Reno" not in str(shop.sent("events"))
        assert "Elm Street" not in str(shop.sent("events"))

    def test_two_calls_add_up(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.enhance({email: 'john@contoso.com'}); Convultra.enhance({phone: '+14255551234'})")
        shop.do("Convultra.trackLead()")
        assert _user_data(shop) == {"email_sha256": JOHN, "phone_sha256": PHONE}

    def test_it_belongs_to_later_events_only(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.track('a'); Convultra.enhance({email: 'john@contoso.com'}); Convultra.track('b')")
        assert [event.get("user_data") for event in shop.sent("events")] == [None, {"email_sha256": JOHN}]

    def test_an_email_among_the_properties_is_hashed_too(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.trackLead({email: 'john@contoso.com', phone: '+14255551234', plan: 'pro'})")
        assert _user_data(shop) == {"email_sha256": JOHN, "phone_sha256": PHONE}
        assert shop.sent("events")[0]["properties"] == {"plan": "pro"}

    def test_the_session_remembers_it_once_consent_is_granted(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.enhance({email: 'john@contoso.com'})")
        shop.visit("https://shop.test/thanks")
        shop.do("Convultra.trackLead()")
        assert _user_data(shop) == {"email_sha256": JOHN}

    def test_without_that_no_hash_is_written_to_the_disk(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(503)]
        shop.do("Convultra.enhance({email: 'john@contoso.com'}); Convultra.trackLead()")
        assert _user_data(shop) == {"email_sha256": JOHN}
        assert JOHN not in str(shop.stored())
        assert "lead" in str(shop.stored()["local"])

    def test_nothing_plain_is_ever_stored_sent_or_printed(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(503)]
        shop.do("Convultra.consent({ad_storage: 'granted'})")
        shop.do("Convultra.enhance({email: 'canary@nowhere', phone: '555canary'})")
        shop.do("Convultra.trackLead({email: 'canary@contoso.com', phone: '+14255551234'})")
        traces = [request.post_data for request in shop.requests] + [shop.stored(), shop.console.warnings]
        assert "canary" not in str(traces)
        assert "4255551234" not in str(traces)


class TestWithoutASecureContext:
    def test_personal_data_is_dropped_and_the_event_sent(self, shop: Shop) -> None:
        shop.visit("http://shop.test/")
        assert shop.do("isSecureContext") is False
        shop.do("Convultra.enhance({email: 'john@contoso.com', phone: '+14255551234'}); Convultra.trackLead()")
        assert _user_data(shop) is None
        assert "Convultra: not usable: email without https" in shop.console.warnings
        assert "john" not in str(shop.requests[-1].post_data)

    def test_a_hash_made_elsewhere_is_still_sent(self, shop: Shop) -> None:
        shop.visit("http://shop.test/")
        shop.do(f"Convultra.enhance({{email: '{JOHN}'}}); Convultra.trackLead()")
        assert _user_data(shop) == {"email_sha256": JOHN}
