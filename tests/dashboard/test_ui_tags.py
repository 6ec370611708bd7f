"""The tags of the pages: what they draw, and that nothing a customer sent gets out of its place."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.template import Context, Template
from django.test import SimpleTestCase
from django.utils.html import escape

from dashboard.icons import sprite_icons, used_icons
from dashboard.templatetags.ui import STATUSES, clickid, code, coloured, cp, highlighted, spark, status
from forwarding.models import Status
from tests.cast import NOON

EVIL = "<script>alert('\"&')</script>"


def render(source: str, **context: object) -> str:
    return Template("{% load ui %}" + source).render(Context(context))


class Badges(SimpleTestCase):
    def test_every_status_has_the_word_that_its_model_prints(self) -> None:
        for value in Status:
            with self.subTest(status=value):
                self.assertEqual(STATUSES[value].word, value.label)

    def test_a_badge_has_icon_and_word(self) -> None:
        self.assertIn("Delivered", status("delivered"))
        self.assertIn("#check", status("delivered"))
        self.assertIn("Restating…", status("restated", "Restating…"))


class Escaping(SimpleTestCase):
    def test_nothing_of_a_customer_becomes_markup(self) -> None:
        drawn = [
            clickid(EVIL),
            cp(EVIL, EVIL),
            code(EVIL, EVIL, "x"),
            code("t", {"a": EVIL}, "x"),
            code("t", EVIL, "x", "script"),
            status("failed", EVIL),
        ]
        for html in drawn:
            with self.subTest(html=html[:30]):
                self.assertNotIn("<script", html)

    def test_json_is_coloured_and_still_reads_the_same(self) -> None:
        html = highlighted({"name": 'a "b" & <c>: 1', "value": -49.9, "none": None, "list": [True, 1e3]})
        plain = str(html)
        for tag in ('<span class="k">', '<span class="s">', '<span class="n">', "</span>"):
            plain = plain.replace(tag, "")
        self.assertIn("a \\&quot;b\\&quot; &amp; &lt;c&gt;: 1", plain)
        self.assertIn('<span class="k">&quot;value&quot;</span>: <span class="n">-49.9</span>', html)
        self.assertIn('<span class="n">null</span>', html)

    def test_other_code_has_its_comments_and_strings_coloured(self) -> None:
        html = coloured("# why\nget('https://a.example', \"<b>\")")
        self.assertIn('<span class="cm"># why</span>', html)
        self.assertIn('<span class="s">&#x27;https://a.example&#x27;</span>', html)
        self.assertIn('<span class="s">&quot;&lt;b&gt;&quot;</span>', html)


class Moments(SimpleTestCase):
    def draw(self, moment: datetime | None, style: str = "clock") -> str:
        source = "{% when moment style %}"
        return render(source, moment=moment, style=style, zone=ZoneInfo("America/Chicago"), now=NOON)

    def test_a_moment_is_a_time_element_in_the_sites_zone(self) -> None:
        self.assertEqual(
            self.draw(NOON),
            '<time datetime="2026-11-21T06:00:00-06:00" title="Nov 21, 2026, 06:00:00 CST (UTC-06:00)">06:00:00</time>',
        )

    def test_it_may_be_shortened(self) -> None:
        self.assertIn(">06:00</time>", self.draw(NOON, "minute"))
        self.assertIn(">Nov 21</time>", self.draw(NOON, "day"))

    def test_no_moment_is_a_dash(self) -> None:
        self.assertEqual(self.draw(None), "–")

    def test_a_columns_head_names_the_zone(self) -> None:
        self.assertEqual(render("{% zone_name %}", zone=ZoneInfo("America/Chicago"), now=NOON), "CST")


class Themes(SimpleTestCase):
    def draw(self, cookie: str | None) -> str:
        request = HttpRequest()
        if cookie is not None:
            request.COOKIES["theme"] = cookie
        return render("{% theme %}", request=request)

    def test_a_chosen_theme_is_written_by_the_server(self) -> None:
        self.assertEqual(self.draw("dark"), ' data-bs-theme="dark"')

    def test_anything_else_is_left_to_the_system(self) -> None:
        for cookie in (None, "system", '"><script>'):
            with self.subTest(cookie=cookie):
                self.assertEqual(self.draw(cookie), "")

    def test_a_page_without_a_request_has_none(self) -> None:
        self.assertEqual(render("{% theme %}"), "")


class Names(SimpleTestCase):
    def test_each_is_escaped_and_keeps_its_marks_of_direction_to_itself(self) -> None:
        self.assertEqual(
            render("{{ several|names }} went", several=["A", "\u202eB", EVIL]),
            f"<bdi>A</bdi>, <bdi>\u202eB</bdi> and <bdi>{escape(EVIL)}</bdi> went",
        )
        self.assertEqual(render("{{ one|names }}", one="Search – US"), "<bdi>Search – US</bdi>")


class Lines(SimpleTestCase):
    def test_a_line_of_equal_or_single_values_is_drawn(self) -> None:
        for values in ([0, 0, 0], [5], [1, 2, 9]):
            with self.subTest(values=values):
                self.assertIn("<polyline", spark(values))


class Icons(SimpleTestCase):
    def test_every_icon_that_is_named_is_in_the_sprite(self) -> None:
        self.assertEqual(used_icons() - sprite_icons(), set())

    def test_the_search_for_names_finds_them(self) -> None:
        self.assertLess({"check", "menu-2", "gauge", "eye-off"}, used_icons())
