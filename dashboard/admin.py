"""Staff's view of two-step sign-in: who has it, and how it is taken off somebody who lost the phone and the codes."""

from typing import Any

from allauth.account.admin import EmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from convultra.staff import TimesInUtc
from dashboard import staff_tables  # noqa: F401 - registers its tables
from dashboard.tickets.owners import owners_of_person
from ingest.audit import record


class PasswordOnlyForm(AdminAuthenticationForm):
    """The admin's own sign-in knows no second step, so who has one signs in at the pages' sign-in."""

    def confirm_login_allowed(self, user: User) -> None:
        """Refuse a person with two-step sign-in."""
        super().confirm_login_allowed(user)
        if Authenticator.objects.filter(user_id=user.pk, type=Authenticator.Type.TOTP).exists():
            raise forms.ValidationError("Two-step sign-in is on for you. Sign in at /login/, then open /admin/.")


class AboutPeople(TimesInUtc):
    """A table about people. What staff change goes to the audit log of each customer on whose team the person is."""

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self._record(request, "change", obj)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, "delete", obj)
        return super().log_deletions(request, queryset)

    def _record(self, request: HttpRequest, verb: str, obj: Model) -> None:
        assert isinstance(request.user, User)
        person = obj if isinstance(obj, User) else getattr(obj, "user")  # noqa: B009 - every other table here has it
        action, now = f"{obj._meta.model_name}.{verb}", timezone.now()
        for owner in owners_of_person(person):
            record(request.user, action, organisation=owner.organisation, target=str(person), now=now)


class PersonAdmin(AboutPeople, UserAdmin):  # type: ignore[type-arg]
    """Who can sign in."""


class AddressAdmin(AboutPeople, EmailAddressAdmin):  # type: ignore[misc]  # untyped there
    """Which address is whose."""


class AuthenticatorAdmin(AboutPeople):
    """Second steps, without their secrets. Deleting a person's app lets the password alone sign in again."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]
    search_fields = ["user__email"]
    list_select_related = ["user"]
    fields = ["user", "type", "created_at", "last_used_at"]
    readonly_fields = ["user", "type", "created_at", "last_used_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Say no: only the person's own phone can."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Say no: there is nothing to change, and the secret is nobody's to see."""
        return False

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:  # noqa: ARG002
        """Take all of the person's second steps: codes without an app would outlive it."""
        Authenticator.objects.filter(user_id=obj.user_id).delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Authenticator]) -> None:  # noqa: ARG002
        """The same for several."""
        Authenticator.objects.filter(user_id__in=list(queryset.values_list("user_id", flat=True))).delete()


admin.site.login_form = PasswordOnlyForm
# allauth's own pages would show the secrets, and everybody's addresses.
admin.site.unregister((Authenticator, UserSession, User, EmailAddress))
admin.site.register(Authenticator, AuthenticatorAdmin)
admin.site.register(User, PersonAdmin)
admin.site.register(EmailAddress, AddressAdmin)
