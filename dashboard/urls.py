"""The customers' pages. A site's are under /s/<its public id>/, an account's under its Microsoft account id."""

from django.urls import URLPattern, URLResolver, include, path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView

from dashboard import connect_goals, connect_views, integration_views, site_views
from dashboard.account_urls import of_an_account


class MicrosoftId(StringConverter):
    """A Microsoft id in an address: digits, kept as text because some are longer than 2^53."""

    regex = "[0-9]{1,20}"


register_converter(MicrosoftId, "msid")

of_a_site: list[URLPattern | URLResolver] = [
    path("integrations/", integration_views.integrations, name="integrations"),
    path("integrations/microsoft/connect/", integration_views.connect, name="microsoft-connect"),
    path("integrations/<uuid:connection_id>/sync/", integration_views.sync, name="connection-sync"),
    path("integrations/<uuid:connection_id>/disconnect/", integration_views.disconnect, name="connection-disconnect"),
    path("connect/accounts/", connect_views.accounts, name="connect-accounts"),
    path("connect/uet/", connect_views.uet, name="connect-uet"),
    path("connect/goals/", connect_goals.goals, name="connect-goals"),
    path("connect/enhanced/", connect_views.enhanced, name="connect-enhanced"),
    path("connect/done/", connect_views.done, name="connect-done"),
    path("accounts/<msid:account_id>/", include(of_an_account)),
]

app_name = "dashboard"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="dashboard:sites"), name="home"),
    path("sites/", site_views.sites, name="sites"),
    # Microsoft has this one registered, for every site: the site is known from the state it sends back.
    path("integrations/microsoft/callback/", integration_views.callback, name="microsoft-callback"),
    path("s/<uuid:site_id>/", include(of_a_site)),
]
