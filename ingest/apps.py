from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "ingest"

    def ready(self) -> None:
        from django.db.models.signals import post_delete, post_save

        from ingest.keys import forget_all
        from ingest.models import ServerKey, Site

        for model in (Site, ServerKey):
            for signal in (post_save, post_delete):
                signal.connect(forget_all, sender=model, dispatch_uid=f"ingest.keys.{model.__name__}")
