"""An account's pages, under /s/<site>/accounts/<Microsoft's account id>/."""

from django.urls import URLPattern, URLResolver, path

from dashboard.account import views as account_views
from dashboard.logs import actions as delivery_actions
from dashboard.logs import bulk as log_bulk
from dashboard.logs import chosen as log_chosen
from dashboard.logs import views as log_views
from dashboard.mapping import file_views as mapping_file_views
from dashboard.mapping import replay_views as mapping_replay_views
from dashboard.mapping import views as mapping_views
from dashboard.test_center import views as test_views
from forwarding.hands.rules import Action

of_an_account: list[URLPattern | URLResolver] = [
    path("", account_views.overview, name="account-overview"),
    path("mapping/", mapping_views.mapping, name="account-mapping"),
    path("mapping/sync/", mapping_views.sync, name="account-goals-sync"),
    path("mapping/file/", mapping_file_views.mapping_file, name="account-mapping-file"),
    path("mapping/replay/", mapping_replay_views.replay, name="account-mapping-replay"),
    path("mapping/export/", mapping_file_views.export, name="account-mapping-export"),
    path("settings/", account_views.settings, name="account-settings"),
    path("settings/uet-tags/", account_views.uet_tag_list, name="account-uet-tags"),
    path("goals/new/", test_views.goal_create, name="account-goal-create"),
    path("test/", test_views.test_center, name="account-test"),
    path("test/auto-tagging/", test_views.auto_tagging, name="account-auto-tagging"),
    path("test/<uuid:test_id>/", test_views.test_result, name="account-test-result"),
    path("pause/", account_views.pause, name="account-pause"),
    path("resume/", account_views.resume, name="account-resume"),
    path("remove/", account_views.remove, name="account-remove"),
    path("logs/", log_views.logs, name="account-logs"),
    path("logs/export/", log_views.logs_export, name="account-logs-export"),
    path("logs/news/", log_views.logs_news, name="account-logs-news"),
    *(
        path(f"logs/{action.value}/", log_bulk.act_on_all, {"action": action}, name=f"account-logs-{action.value}")
        for action in Action
    ),
    *(
        path(
            f"logs/chosen/{action.value}/",
            log_chosen.act_on_chosen,
            {"action": action},
            name=f"account-logs-chosen-{action}",
        )
        for action in Action
    ),
    path("logs/jobs/<uuid:job_id>/", log_bulk.job, name="account-job"),
    path("logs/jobs/<uuid:job_id>/stop/", log_bulk.stop, name="account-job-stop"),
    path("logs/jobs/<uuid:job_id>/dismiss/", log_bulk.dismiss, name="account-job-dismiss"),
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
