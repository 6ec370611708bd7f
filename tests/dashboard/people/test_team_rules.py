"""Who may change whom: every role against every role."""

from itertools import product

from django.test import SimpleTestCase

from dashboard import guards
from dashboard.people import rules
from dashboard.people.permissions import IN_SHORT, PERMISSIONS
from dashboard.people.rules import Member
from ingest.models import Role

OWNER, ADMIN, MARKETER, DEVELOPER, VIEWER = Role
STAFFERS = (MARKETER, DEVELOPER, VIEWER)


def member(number: int, role: Role, all_sites: bool = True) -> Member:
    return Member(number, role, all_sites)


class TheMatrix(SimpleTestCase):
    def test_removing(self) -> None:
        allowed = {(actor, other) for actor, other in product(Role, Role) if not self.why_not_remove(actor, other)}
        expected = {(OWNER, other) for other in Role} | {(ADMIN, other) for other in Role if other != OWNER}
        self.assertEqual(allowed, expected)

    def why_not_remove(self, actor: Role, other: Role) -> str:
        return rules.why_not_remove(member(1, actor), member(2, other))

    def test_inviting(self) -> None:
        allowed = {pair for pair in product(Role, Role) if not rules.why_not_invite(member(1, pair[0]), pair[1], True)}
        expected = {(OWNER, given) for given in Role} | {(ADMIN, given) for given in Role if given != OWNER}
        self.assertEqual(allowed, expected)

    def test_changing(self) -> None:
        for actor, before, after in product(Role, Role, Role):
            owners_business = OWNER in (before, after)
            expected = actor == OWNER or (actor == ADMIN and not owners_business)
            reason = rules.why_not_change(member(1, actor), member(2, before), after, True)
            with self.subTest(actor=actor, before=before, after=after):
                self.assertEqual(not reason, expected)

    def test_nobody_changes_or_removes_themselves(self) -> None:
        for role, after in product(Role, Role):
            me = member(1, role)
            self.assertTrue(rules.why_not_change(me, me, after, True))
            self.assertTrue(rules.why_not_remove(me, me))


class HeldToSomeSites(SimpleTestCase):
    def test_nobody_becomes_owner_or_admin_of_some_sites(self) -> None:
        for role in Role:
            with self.subTest(role):
                refused = bool(rules.why_not_invite(member(1, OWNER), role, all_sites=False))
                self.assertEqual(refused, role in (OWNER, ADMIN))

    def test_an_owner_who_is_held_to_some_sites_runs_nothing(self) -> None:
        held = member(1, OWNER, all_sites=False)
        self.assertEqual(rules.roles_given_by(held), ())
        self.assertTrue(rules.why_not_remove(held, member(2, VIEWER)))


class Leaving(SimpleTestCase):
    def test_the_last_owner_stays(self) -> None:
        self.assertEqual(rules.why_not_leave(member(1, OWNER), other_owners=0), rules.LAST_OWNER)
        self.assertEqual(rules.why_not_leave(member(1, OWNER), other_owners=1), "")

    def test_everybody_else_may_go(self) -> None:
        for role in (ADMIN, *STAFFERS):
            self.assertEqual(rules.why_not_leave(member(1, role), other_owners=0), "")


class TheTable(SimpleTestCase):
    def test_it_has_a_line_for_every_permission_that_a_door_asks(self) -> None:
        asked = {name for name, value in vars(guards).items() if name.isupper() and isinstance(value, tuple)}
        shown = {id(line.roles) for line in PERMISSIONS}
        self.assertEqual({name for name in asked if id(getattr(guards, name)) not in shown}, set())

    def test_every_role_is_told_in_short(self) -> None:
        self.assertEqual(set(IN_SHORT), set(Role))
