"""Staff's view of two-step sign-in: who has it, and how it is taken off somebody who lost the phone and the codes."""

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest


class PasswordOnlyForm(AdminAuthenticationForm):
    """The admin's own sign-in knows no second step, so who has one signs in at the pages' sign-in."""

    def confirm_login_allowed(self, user: User) -> None:
        """Refuse a person with two-step sign-in."""
        super().confirm_login_allowed(user)
        if Authenticator.objects.filter(user_id=user.pk, type=Authenticator.Type.TOTP).exists():
            raise forms.ValidationError("Two-step sign-in is on for you. Sign in at /login/, then open /admin/.")


class AuthenticatorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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
admin.site.unregister((Authenticator, UserSession))
admin.site.register(Authenticator, AuthenticatorAdmin)
