"""The customers' pages. A site's are under /s/<its public id>/, an account's under its Microsoft account id."""

from django.urls import URLPattern, URLResolver, include, path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView

from dashboard.account.urls import of_an_account
from dashboard.connect import goals as connect_goals
from dashboard.connect import integrations as integration_views
from dashboard.connect import reading as connect_reading
from dashboard.connect import views as connect_views
from dashboard.events import views as event_views
from dashboard.help import views as help_views
from dashboard.imports import views as import_views
from dashboard.install import views as install_views
from dashboard.keys import views as key_views
from dashboard.overview import views as overview_views
from dashboard.people.urls import urlpatterns as of_people
from dashboard.reconciliation import views as reconciliation_views
from dashboard.sites import settings as site_settings
from dashboard.sites import views as site_views
from dashboard.test_center import wizard as test_wizard


class MicrosoftId(StringConverter):
    """A Microsoft id in an address: digits, kept as text because some are longer than 2^53."""

    regex = "[0-9]{1,20}"


register_converter(MicrosoftId, "msid")

of_a_site: list[URLPattern | URLResolver] = [
    path("", overview_views.overview, name="overview"),
    path("overview/attention/", overview_views.attention_section, name="overview-attention"),
    path("overview/figures/", overview_views.figures_section, name="overview-figures"),
    path("overview/latest/", overview_views.latest_section, name="overview-latest"),
    path("overview/start/", overview_views.start_section, name="overview-start"),
    path("events/", event_views.events, name="events"),
    # Beside the list and not below it: an event may be called anything.
    path("events-news/", event_views.events_news, name="events-news"),
    path("events/<path:event_id>/", event_views.event, name="event"),
    path("reconciliation/", reconciliation_views.reconciliation, name="reconciliation"),
    path("reconciliation/export/", reconciliation_views.export, name="reconciliation-export"),
    path("reconciliation/<msid:account_id>/read/", reconciliation_views.read_now, name="reconciliation-read"),
    path("integrations/", integration_views.integrations, name="integrations"),
    path("integrations/microsoft/connect/", integration_views.connect, name="microsoft-connect"),
    path("integrations/<uuid:connection_id>/reading/", connect_reading.reading, name="connection-reading"),
    path("integrations/<uuid:connection_id>/sync/", integration_views.sync, name="connection-sync"),
    path("integrations/<uuid:connection_id>/disconnect/", integration_views.disconnect, name="connection-disconnect"),
    path("connect/accounts/", connect_views.accounts, name="connect-accounts"),
    path("connect/uet/", connect_views.uet, name="connect-uet"),
    path("connect/goals/", connect_goals.goals, name="connect-goals"),
    path("connect/enhanced/", connect_views.enhanced, name="connect-enhanced"),
    path("connect/test/", test_wizard.send_a_test, name="connect-test"),
    path("connect/done/", connect_views.done, name="connect-done"),
    path("install/", install_views.install, name="install"),
    path("install/checks/", install_views.checks, name="install-checks"),
    path("install/page/", install_views.page_to_check, name="install-page"),
    path("install/allow/", install_views.allow_origin, name="install-allow"),
    path("hash-inspector/", install_views.hash_inspector, name="hash-inspector"),
    path("keys/", key_views.keys, name="keys"),
    path("keys/<uuid:key_id>/revoke/", key_views.revoke, name="key-revoke"),
    path("imports/", import_views.imports, name="imports"),
    path("imports/template/<slug:format_>/", import_views.template, name="import-template"),
    path("imports/<uuid:import_id>/", import_views.import_, name="import"),
    path("imports/<uuid:import_id>/confirm/", import_views.confirm, name="import-confirm"),
    path("imports/<uuid:import_id>/cancel/", import_views.cancel, name="import-cancel"),
    path("imports/<uuid:import_id>/rows.csv", import_views.rows_to_fix, name="import-rows"),
    path("settings/", site_settings.settings, name="site-settings"),
    path("accounts/<msid:account_id>/", include(of_an_account)),
]

app_name = "dashboard"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="dashboard:sites"), name="home"),
    path("sites/", site_views.sites, name="sites"),
    path("search/", event_views.search, name="search"),
    path("help/", help_views.help_, name="help"),
    path("help/api/", help_views.api_reference, name="help-api"),
    path("", include(of_people)),
    # Microsoft has this one registered, for every site: the site is known from the state it sends back.
    path("integrations/microsoft/callback/", integration_views.callback, name="microsoft-callback"),
    path("s/<uuid:site_id>/", include(of_a_site)),
]
