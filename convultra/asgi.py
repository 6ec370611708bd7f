"""ASGI entry point, what `manage.py web` serves: the ingest API's fast way in front of Django."""

import os

from django.core.asgi import get_asgi_application
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "convultra.settings")
_django = get_asgi_application()
# By its name, as urls.py names rooms: this one joins them and belongs to none.
application = import_string("ingest.collector.Collector")(_django)
