"""An account's pages, under /s/<site>/accounts/<Microsoft's account id>/."""

from django.urls import URLPattern, URLResolver, path

from dashboard import account_views, delivery_actions, log_views, mapping_views
from forwarding.hands.rules import Action

of_an_account: list[URLPattern | URLResolver] = [
    path("", account_views.overview, name="account-overview"),
    path("mapping/", mapping_views.mapping, name="account-mapping"),
    path("mapping/sync/", mapping_views.sync, name="account-goals-sync"),
    path("settings/", account_views.settings, name="account-settings"),
    path("settings/uet-tags/", account_views.uet_tag_list, name="account-uet-tags"),
    path("pause/", account_views.pause, name="account-pause"),
    path("resume/", account_views.resume, name="account-resume"),
    path("remove/", account_views.remove, name="account-remove"),
    path("logs/", log_views.logs, name="account-logs"),
    path("logs/news/", log_views.logs_news, name="account-logs-news"),
    path("logs/retry/", delivery_actions.retry_all, name="account-logs-retry"),
    path("logs/<uuid:delivery_id>/", log_views.delivery, name="account-delivery"),
    path("logs/<uuid:delivery_id>/detail/", log_views.delivery_detail, name="account-delivery-detail"),
    *(
        path(
            f"logs/<uuid:delivery_id>/{action.value}/",
            delivery_actions.act,
            {"action": action},
            name=f"account-delivery-{action.value}",
        )
        for action in Action
    ),
]
