from importlib import import_module

from django.apps import AppConfig


class ConvultraConfig(AppConfig):
    name = "convultra"

    def ready(self) -> None:
        import_module("convultra.checks")  # registers them; it needs the models, which this file must not
