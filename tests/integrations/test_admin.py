"""The staff's lists: they open, stay fast as rows grow, show no token and leave history alone."""

from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.db import models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations.mapping import Rule, set_mapping
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping, MappingChange
from tests.cast import NOON, CastTestCase, make_account, make_connection, make_goal
from tests.support.signing_in import work_on_ticket

MODELS: tuple[type[models.Model], ...] = (Connection, AdAccount, ConversionGoal, GoalMapping, MappingChange)
TOKENS = ("an-access-token", "a-refresh-token", "the-one-before")


class Staff(CastTestCase):
    """A member of staff, and a row of every kind."""

    staff: User

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.staff = User.objects.create_superuser("staff", "staff@example.com", "x")
        set_mapping(cls.account, "lead", Rule(cls.goal.goal_id), cls.alice, NOON)
        connection = cls.account.connection
        connection.previous_refresh_token = "the-one-before"
        connection.save(update_fields=["previous_refresh_token"])

    def setUp(self) -> None:
        self.client.force_login(self.staff)
        work_on_ticket(self.client)

    def url(self, model: type[models.Model], page: str, *arguments: object) -> str:
        return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{page}", args=arguments)

    def more_rows(self) -> None:
        for number in range(3):
            connection = make_connection(self.site, microsoft_user_id=f"60{number}", microsoft_user_name=f"u{number}")
            account = make_account(self.site, f"70{number}", connection=connection)
            goal = make_goal(account, "Purchase", f"80{number}")
            set_mapping(account, "purchase", Rule(goal.goal_id), self.alice, NOON)


class ListsTest(Staff):
    def queries(self, model: type[models.Model]) -> int:
        with CaptureQueriesContext(database) as captured:
            self.assertEqual(self.client.get(self.url(model, "changelist")).status_code, 200)
        return len(captured)

    def test_a_list_asks_as_much_for_many_rows_as_for_few(self) -> None:
        for model in MODELS:
            self.queries(model)  # what is cached once, such as content types
        few = {model: self.queries(model) for model in MODELS}
        self.more_rows()
        self.assertEqual({model: self.queries(model) for model in MODELS}, few)

    def test_a_search_and_a_filter_work(self) -> None:
        for model in MODELS:
            with self.subTest(model.__name__):
                r = self.client.get(self.url(model, "changelist"), {"q": "Search"})
                self.assertEqual(r.status_code, 200)
        for access in ("valid", "expired", "none", "nonsense"):
            with self.subTest(access):
                r = self.client.get(self.url(Connection, "changelist"), {"access": access})
                self.assertEqual(r.status_code, 200)

    def test_the_access_filter_finds_who_has_no_tokens(self) -> None:
        make_connection(self.site, microsoft_user_id="61", microsoft_user_name="wiped@x.example", expires_at=None)
        r = self.client.get(self.url(Connection, "changelist"), {"access": "none"})
        self.assertContains(r, "wiped@x.example")
        self.assertNotContains(r, "ads@harborpine.example")


class SecretsTest(Staff):
    def test_no_page_has_a_token(self) -> None:
        for model in MODELS:
            row = model._default_manager.first()
            assert row is not None
            for page, arguments in (("changelist", ()), ("change", (row.pk,)), ("history", (row.pk,))):
                with self.subTest(f"{model.__name__} {page}"):
                    r = self.client.get(self.url(model, page, *arguments))
                    self.assertEqual(r.status_code, 200)
                    for token in (*TOKENS, "gAAAA"):
                        self.assertNotContains(r, token)

    def test_a_token_cannot_be_searched_for(self) -> None:
        r = self.client.get(self.url(Connection, "changelist"), {"access_token__contains": "an"})
        self.assertRedirects(r, f"{self.url(Connection, 'changelist')}?e=1", fetch_redirect_response=False)


class ReadOnlyTest(Staff):
    def test_history_and_what_microsoft_says_cannot_be_written(self) -> None:
        for model in (Connection, ConversionGoal, GoalMapping, MappingChange):
            row = model._default_manager.first()
            assert row is not None
            with self.subTest(model.__name__):
                self.assertEqual(self.client.get(self.url(model, "add")).status_code, 403)
                self.assertEqual(self.client.post(self.url(model, "change", row.pk), {}).status_code, 403)
                self.assertEqual(self.client.post(self.url(model, "delete", row.pk), {"post": "yes"}).status_code, 403)

    def test_what_holds_an_account_cannot_be_typed(self) -> None:
        AdAccount.objects.update(hold_reason="permission", held_until=NOON)
        data = {"is_active": "on", "uet_tag_id": "", "hold_reason": "by hand", "batch_limit": "7", "account_id": "1"}
        r = self.client.post(self.url(AdAccount, "change", self.account.pk), data)
        self.assertEqual(r.status_code, 302)
        self.account.refresh_from_db()
        self.assertEqual((self.account.hold_reason, self.account.held_until), ("permission", NOON))
        self.assertEqual((self.account.batch_limit, self.account.account_id), (None, "138204417"))


class LiftTheHoldTest(Staff):
    def lift(self) -> str:
        chosen = {"action": "lift_holds", "_selected_action": list(AdAccount.objects.values_list("pk", flat=True))}
        return self.client.post(self.url(AdAccount, "changelist"), chosen, follow=True).content.decode()

    def test_it_releases_what_is_held_and_says_how_many(self) -> None:
        for number in range(2):
            make_account(self.site, f"70{number}", hold_reason="throttled", held_until=NOON)
        self.assertIn("2 accounts released.", self.lift())
        self.assertEqual(set(AdAccount.objects.values_list("hold_reason", "held_until")), {("", None)})

    def test_it_says_one_account_as_people_do(self) -> None:
        AdAccount.objects.update(hold_reason="permission")
        self.assertIn("1 account released.", self.lift())

    def test_it_takes_leave_to_change_accounts(self) -> None:
        AdAccount.objects.update(hold_reason="permission")
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_adaccount"))
        self.client.force_login(viewer)
        work_on_ticket(self.client)
        self.assertNotIn("released", self.lift())
        self.assertEqual(AdAccount.objects.get().hold_reason, "permission")
