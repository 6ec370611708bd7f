"""The SDK's files, under `/sdk/`; which names there are is said in `ingest/sdk.py`."""

from django.urls import path

from ingest.views import sdk_file

urlpatterns = [path("<str:name>", sdk_file, name="sdk")]
