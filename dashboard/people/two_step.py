"""Two-step sign-in: a code of an authenticator app after the password, and recovery codes for a lost phone.

allauth's views in our pages. Wrong codes count as wrong passwords do, so the pause holds for both steps. What changes
two-step sign-in asks the password again first.
"""

from typing import Any

from allauth.account.views import ReauthenticateView
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.views import AuthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from convultra import second_factors
from dashboard.people.sign_in import pause_minutes, too_many_attempts, tries_left

# Of an app: the present one, and those of half a minute before and after.
CODES_THAT_COUNT = 3


class SecretsAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth ships no types
    """Keeps the secrets encrypted, and says what is wrong in our words."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right. Codes change every 30 seconds and work once: enter the newest.",
        "cannot_generate_recovery_codes": "Turn two-step sign-in on first.",
    }

    def encrypt(self, text: str) -> str:
        """Seal a secret under the newest key."""
        return second_factors.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Open a sealed secret; raises DecryptionFailed."""
        return second_factors.unseal(encrypted_text)


class CodeForm(AuthenticateForm):  # type: ignore[misc]
    """A code that works once, whichever process is asked: allauth remembers it in a process of its own."""

    def clean_code(self) -> str:
        """Check the code, and note it as spent beside the secret that it came from."""
        code: str = super().clean_code()
        with transaction.atomic():
            factor = Authenticator.objects.select_for_update().get(pk=self.authenticator.pk)
            spent = factor.data.get("spent", [])
            if code in spent:
                raise SecretsAdapter().validation_error("incorrect_code")
            factor.data["spent"] = [code, *spent][:CODES_THAT_COUNT]
            factor.save(update_fields=["data"])
        return code


class InPlace:
    """A form that answers 422 with its errors beside its fields."""

    def form_invalid(self, form: Form) -> HttpResponse:
        """Show the form again, with what is wrong."""
        response: HttpResponse = self.render_to_response(self.get_context_data(form=form), status=422)  # type: ignore[attr-defined]
        return response


class SecondStep(AuthenticateView):  # type: ignore[misc]
    """The code after the password."""

    template_name = "account/two_step.html"
    form_class = CodeForm

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Check a code, unless too many failed."""
        if not AxesProxyHandler.is_allowed(request, {"username": self._email}):
            return too_many_attempts(request)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def form_invalid(self, form: Form) -> HttpResponse:  # noqa: ARG002
        """Count the failure as one of the password, and say how many tries are left."""
        user_login_failed.send(sender=__name__, credentials={"username": self._email}, request=self.request)
        ctx = self.get_context_data(tries_left=tries_left(self.request, self._email), pause_minutes=pause_minutes())
        response: HttpResponse = self.render_to_response(ctx, status=422)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        ctx: dict[str, Any] = super().get_context_data(**kwargs)
        return ctx | kwargs

    @property
    def _email(self) -> str:
        email: str = self.stage.login.user.email
        return email.lower()


@method_decorator(never_cache, name="dispatch")
class Confirm(InPlace, ReauthenticateView):  # type: ignore[misc]
    """The password again, before two-step sign-in is changed."""

    template_name = "account/confirm_password.html"


@method_decorator(never_cache, name="dispatch")
class TurnOn(InPlace, ActivateTOTPView):  # type: ignore[misc]
    """A code of the app, to show that it has the secret."""

    template_name = "account/two_step_on.html"


@method_decorator(never_cache, name="dispatch")
class TurnOff(InPlace, DeactivateTOTPView):  # type: ignore[misc]
    """A question, before the password alone signs in again."""

    template_name = "account/two_step_off.html"


@method_decorator(never_cache, name="dispatch")
class Codes(ViewRecoveryCodesView):  # type: ignore[misc]
    """The recovery codes that are left."""

    template_name = "account/recovery_codes.html"


@method_decorator(never_cache, name="dispatch")
class NewCodes(InPlace, GenerateRecoveryCodesView):  # type: ignore[misc]
    """A question, before the old codes stop working."""

    template_name = "account/recovery_codes_new.html"
