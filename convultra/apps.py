from django.apps import AppConfig


class ConvultraConfig(AppConfig):
    name = "convultra"
