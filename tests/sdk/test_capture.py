"""How a click id is caught on the landing page, and which of several is kept."""

import pytest

from .conftest import CLICK, OTHER_CLICK, STUB, Shop

pytestmark = pytest.mark.browser

DASHED = "f894f652-ea33-4e73-9002-f7167ab8f8e3"


class TestTheAddress:
    @pytest.mark.parametrize(
        "address",
        [
            f"/?msclkid={CLICK}",
            f"/?MSCLKID={CLICK}&utm_source=bing",
            f"/?a=1&MsClkId={CLICK}",
            f"/#msclkid={CLICK}",
            f"/#/landing?x=1&msclkid={CLICK}",
            f"/?msclkid={CLICK}#top",
            f"/?msclkid={OTHER_CLICK}&msclkid={CLICK}",
            f"/?msclkid={CLICK}&msclkid=undefined",
            "/?broken=%E0%A4%A&msclkid=" + CLICK,
        ],
    )
    def test_it_finds_the_click_id(self, shop: Shop, address: str) -> None:
        shop.visit("https://shop.test" + address)
        assert shop.do("Convultra.clickId()") == CLICK

    @pytest.mark.parametrize("click", [DASHED, CLICK.upper(), CLICK[:29], CLICK[:24], CLICK + CLICK[:8]])
    def test_it_keeps_a_valid_id_as_it_came(self, shop: Shop, click: str) -> None:
        shop.visit(f"https://shop.test/?msclkid={click}")
        assert shop.do("Convultra.clickId()") == click

    @pytest.mark.parametrize(
        "bad",
        [
            "undefined",
            "Example-123",
            "{msclkid}",
            "%7Bmsclkid%7D",
            "",
            CLICK[:23],
            CLICK + CLICK[:9],
            "g" * 32,
            "-" * 32,
        ],
    )
    def test_a_malformed_id_never_displaces_a_good_one(self, shop: Shop, bad: str) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.visit(f"https://shop.test/?msclkid={bad}")
        assert shop.do("Convultra.clickId()") == CLICK
        assert [click["msclkid"] for click in shop.sent("clicks")] == [CLICK]

    def test_a_malformed_id_alone_is_none(self, shop: Shop) -> None:
        shop.visit("https://shop.test/?msclkid=undefined")
        assert shop.do("Convultra.clickId()") is None
        assert shop.sent("clicks") == []

    def test_another_parameter_whose_name_ends_alike_is_none(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?xmsclkid={CLICK}&old_msclkid={CLICK}")
        assert shop.do("Convultra.clickId()") is None

    def test_the_newest_click_wins(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.visit(f"https://shop.test/?msclkid={OTHER_CLICK}")
        assert shop.do("Convultra.clickId()") == OTHER_CLICK

    def test_an_old_address_opened_again_is_no_new_click(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.visit(f"https://shop.test/?msclkid={OTHER_CLICK}")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        assert shop.do("Convultra.clickId()") == OTHER_CLICK
        assert [click["msclkid"] for click in shop.sent("clicks")] == [CLICK, OTHER_CLICK]

    def test_it_survives_pages_without_the_parameter(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.visit("https://shop.test/basket")
        assert shop.do("Convultra.clickId()") == CLICK
        assert len(shop.sent("clicks")) == 1


class TestTheNavigationWithinAPage:
    @pytest.mark.parametrize("method", ["pushState", "replaceState"])
    def test_it_follows_the_history(self, shop: Shop, method: str) -> None:
        shop.visit("https://shop.test/")
        shop.do(f"history.{method}({{}}, '', '/offer?msclkid={CLICK}')")
        assert shop.sent("clicks")[0]["landing_url"] == f"https://shop.test/offer?msclkid={CLICK}"

    def test_it_follows_the_back_button(self, shop: Shop) -> None:
        shop.head = STUB
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.page.evaluate("history.pushState({}, '', '/next')")
        shop.page.evaluate("performance.getEntriesByType = () => []")
        shop.page.add_script_tag(url="https://convultra.test/sdk/convultra.v1.js")
        assert shop.do("Convultra.init('wk_test'), Convultra.clickId()") is None
        shop.page.go_back()
        shop.settle()
        assert [click["msclkid"] for click in shop.sent("clicks")] == [CLICK]

    def test_a_router_that_cleans_the_address_first_hides_nothing(self, shop: Shop) -> None:
        shop.head = STUB
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.page.evaluate("history.replaceState({}, '', '/')")
        shop.page.add_script_tag(url="https://convultra.test/sdk/convultra.v1.js")
        assert shop.do("Convultra.init('wk_test'), Convultra.clickId()") == CLICK

    def test_it_leaves_the_history_working(self, shop: Shop) -> None:
        shop.visit("https://shop.test/")
        assert shop.do("history.pushState({page: 2}, '', '/two'), [history.state.page, location.pathname]") == [
            2,
            "/two",
        ]


class TestTheTagOfMicrosoft:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("_uetmsclkid", f"_uet{CLICK}"),
            ("_uetmsclkid", CLICK),
            ("msclkid", CLICK),
            ("msclkid", f"{CLICK}-1"),
            ("msclkid", f"{CLICK}-0N"),
            ("msclkid", f"{CLICK}N"),
        ],
    )
    def test_its_cookie_is_the_fall_back(self, shop: Shop, name: str, value: str) -> None:
        shop.context.add_cookies([{"name": name, "value": value, "domain": "shop.test", "path": "/"}])
        shop.visit()
        assert shop.do("Convultra.clickId()") == CLICK

    @pytest.mark.parametrize("value", ["N", "_uetN", "_uet", "Example-123"])
    def test_its_empty_cookie_is_none(self, shop: Shop, value: str) -> None:
        shop.context.add_cookies([{"name": "_uetmsclkid", "value": value, "domain": "shop.test", "path": "/"}])
        shop.visit()
        assert shop.do("Convultra.clickId()") is None

    def test_the_address_wins_over_its_cookie(self, shop: Shop) -> None:
        shop.context.add_cookies(
            [{"name": "_uetmsclkid", "value": f"_uet{OTHER_CLICK}", "domain": "shop.test", "path": "/"}]
        )
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        assert shop.do("Convultra.clickId()") == CLICK


class TestTheReport:
    def test_the_click_is_sent_at_once(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time("2026-11-21T10:30:00.250Z")
        shop.visit(f"https://shop.test/offer?email=jane@x.com&utm_source=bing&msclkid={CLICK}#secret")
        (request,) = shop.posts("clicks")
        body = shop.body(request)
        (click,) = body["clicks"]
        assert request.url == "https://convultra.test/v1/wk_test/clicks"
        assert body["sent_at"] == "2026-11-21T10:30:00.250Z"
        assert click == {
            "msclkid": CLICK,
            "visitor_id": shop.do("Convultra.visitorId()"),
            "session_id": click["session_id"],
            "landing_url": f"https://shop.test/offer?utm_source=bing&msclkid={CLICK}",
            "captured_at": "2026-11-21T10:30:00.250Z",
        }

    def test_a_reload_is_no_second_click(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time("2026-11-21T10:00:00Z")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        before = shop.cookie()
        shop.page.clock.set_fixed_time("2026-11-22T10:00:00Z")
        shop.visit(f"https://shop.test/?msclkid={CLICK.upper()}")
        assert len(shop.sent("clicks")) == 1
        assert shop.cookie() == before

    @pytest.mark.parametrize("mark", ["?", "#"])
    def test_an_endless_address_is_cut(self, shop: Shop, mark: str) -> None:
        shop.visit(f"https://shop.test/offer{mark}utm_x={'y' * 70_000}&msclkid={CLICK}")
        (click,) = shop.sent("clicks")
        assert click["msclkid"] == CLICK
        assert len(click["landing_url"]) <= 2000
