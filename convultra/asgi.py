"""ASGI entry point, what `manage.py web` serves."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "convultra.settings")
application = get_asgi_application()
