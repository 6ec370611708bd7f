"""A person at a page who has a keyboard and nothing else."""

from playwright.sync_api import Locator, Page, expect

# More than any page of the world has, so a control that Tab never reaches is told from one that is far away.
MAX_STOPS = 400


class Keyboard:
    """What is done to a page with keys only; AssertionError names what could not be reached."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, target: Locator) -> None:
        """Press Tab until the target has the focus, past the navigation where the target is behind it."""
        if target.evaluate("e => !!e.closest('main') && document.activeElement === document.body"):
            self.page.keyboard.press("Tab")
            self.page.keyboard.press("Enter")  # "Skip to content" is the first stop of every page
        for _ in range(MAX_STOPS):
            if target.evaluate("e => e === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never reaches {target}")

    def press(self, target: Locator, key: str = "Enter") -> None:
        """Go to a button or a link, and press it."""
        self.reach(target)
        self.page.keyboard.press(key)

    def fill(self, form: Locator, name: str, value: str) -> None:
        """Give a field of the form its value, in the way that keys do it for its kind."""
        fields = form.locator(f'[name="{name}"]:not([type=hidden])')
        kind = fields.first.evaluate("e => e.type")
        if kind == "radio":
            self._choose(form, name, value)
        elif kind == "checkbox":
            self._tick(
                form.locator(f'[name="{name}"][value="{value}"]') if value not in ("on", "off") else fields.first
            )
        elif kind == "file":
            self._take_file(fields.first, value)
        elif kind == "select-one":
            self._pick(fields.first, value)
        else:
            self.reach(fields.first)
            self.page.keyboard.press("ControlOrMeta+A")
            self.page.keyboard.type(value)

    def _choose(self, form: Locator, name: str, value: str) -> None:
        """Walk the arrow keys through a group until the value is checked."""
        group = form.locator(f'[name="{name}"]')
        wanted = form.locator(f'[name="{name}"][value="{value}"]')
        checked = form.locator(f'[name="{name}"]:checked')
        self.reach(checked if checked.count() else group.first)
        for _ in range(group.count()):
            if wanted.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"the arrow keys never reach {value} of {name}")

    def _tick(self, box: Locator) -> None:
        self.reach(box)
        before = box.is_checked()
        self.page.keyboard.press("Space")
        expect(box).to_be_checked(checked=not before)

    def _take_file(self, field: Locator, text: str) -> None:
        self.reach(field)  # the dialog that Enter opens here is the system's
        field.set_input_files({"name": "typed.csv", "mimeType": "text/csv", "buffer": text.encode()})

    def _pick(self, field: Locator, label: str) -> None:
        """Type the beginning of an option, as far as it takes."""
        self.reach(field)
        self.page.keyboard.type(label)
        expect(field.locator("option:checked")).to_have_text(label)
