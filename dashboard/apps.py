from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from allauth.account.signals import user_logged_in

        from dashboard.people.activity import begin_noting

        user_logged_in.connect(begin_noting)
