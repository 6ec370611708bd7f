"""The staff's view of the worker's queue. The rows are django-q2's; here they say what is asked of the worker."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django_q import admin as stock
from django_q.models import Failure, OrmQ, Schedule, Success

from convultra.staff import TimesInUtc

admin.site.unregister((Schedule, Success, Failure))


@admin.register(Schedule)
class ScheduleAdmin(TimesInUtc, stock.ScheduleAdmin):  # type: ignore[misc]  # untyped there
    """What is done again and again."""


@admin.register(Success)
class SuccessAdmin(TimesInUtc, stock.TaskAdmin):  # type: ignore[misc]  # untyped there
    """Tasks that came back."""


@admin.register(Failure)
class FailureAdmin(TimesInUtc, stock.FailAdmin):  # type: ignore[misc]  # untyped there
    """Tasks that ended in an error."""


class QueueAdmin(TimesInUtc, stock.QueueAdmin):  # type: ignore[misc]  # untyped there
    """Tasks that wait for a worker. Wiping them loses nothing: the next sweep finds everything in the rows."""

    list_display = ["what", "name", "lock", "key"]

    @admin.display(description="Task")
    def what(self, task: OrmQ) -> str:
        return task.func() or "–"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        task = context["original"]
        if task is not None:
            context["subtitle"] = self.what(task)  # its own name is "OrmQ object (1)"
        return super().render_change_form(request, context, *args, **kwargs)


if admin.site.is_registered(OrmQ):  # with Redis the queue is no table
    admin.site.unregister(OrmQ)
    admin.site.register(OrmQ, QueueAdmin)
