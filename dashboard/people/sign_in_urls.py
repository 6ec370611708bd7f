"""Sign-in, sign-out, a forgotten password and two steps: allauth's views, and only those that have pages here."""

from allauth.account import views
from django.urls import path, re_path
from django.views.generic import RedirectView

from dashboard.people import two_step
from dashboard.people.me import ChangePassword
from dashboard.people.sign_in import SignIn

urlpatterns = [
    path("login/", SignIn.as_view(), name="account_login"),
    path("login/2fa/", two_step.SecondStep.as_view(), name="mfa_authenticate"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    # Closed: it says who can invite. The e-mail to an unknown address names it.
    path("signup/", views.signup, name="account_signup"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("password/reset/key/done/", views.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("me/confirm/", two_step.Confirm.as_view(), name="account_reauthenticate"),
    path("me/password/", ChangePassword.as_view(), name="account_change_password"),
    path("me/two-step/", RedirectView.as_view(pattern_name="dashboard:me"), name="mfa_index"),
    path("me/two-step/on/", two_step.TurnOn.as_view(), name="mfa_activate_totp"),
    path("me/two-step/off/", two_step.TurnOff.as_view(), name="mfa_deactivate_totp"),
    path("me/two-step/codes/", two_step.Codes.as_view(), name="mfa_view_recovery_codes"),
    path("me/two-step/codes/new/", two_step.NewCodes.as_view(), name="mfa_generate_recovery_codes"),
]
