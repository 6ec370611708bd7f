"""What each role can do, as people read it: every line is the constant that the doors themselves ask."""

from typing import NamedTuple

from dashboard import guards
from ingest.models import Role


class Permission(NamedTuple):
    """A line of the table."""

    label: str
    roles: tuple[Role, ...]

    @property
    def by_role(self) -> list[bool]:
        """Return yes or no for each role, strongest first."""
        return [role in self.roles for role in Role]


PERMISSIONS = (
    Permission("See logs, events and reports", tuple(Role)),
    Permission("Send tests; retry, hold and cancel conversions", guards.SEND),
    Permission("Restate and retract conversions", guards.CORRECT),
    Permission("Import files", guards.IMPORT),
    Permission("Edit goal mapping", guards.MAP),
    Permission("Create and revoke API keys, allow pages to send events", guards.INSTALL),
    Permission("Add sites, connect and remove Microsoft accounts, change settings", guards.CONNECT),
    Permission("Invite people, change roles, rename the organisation", guards.TEAM),
)

# What an invitation says of each role.
IN_SHORT = {
    Role.OWNER: "everything, owners included",
    Role.ADMIN: "everything but owners",
    Role.MARKETER: "mapping, imports, corrections, retries",
    Role.DEVELOPER: "SDK, keys, retries",
    Role.VIEWER: "sees everything, changes nothing",
}
