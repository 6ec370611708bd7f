"""Every address of the product as the resolver has it, so that a new one is looked at without being named here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.resolvers import RegexPattern, RoutePattern

from tests.pages.world import PARAMETERS


@dataclass(frozen=True)
class Route:
    """One address: its key is `namespace:name`, or its path where it has no name; its parameters by name."""

    key: str
    path: str
    parameters: tuple[str, ...]
    is_named: bool

    @property
    def is_admins(self) -> bool:
        """Say whether it belongs to the staff's admin."""
        return self.path.startswith("admin/")

    @property
    def can_be_filled(self) -> bool:
        """Say whether each parameter has a value in the world."""
        return self.is_admins or all(name in PARAMETERS for name in self.parameters)

    def url(self, values: Mapping[str, object]) -> str:
        """Return the address with its parameters filled in; KeyError names one that has no value."""
        if not self.is_named:
            return "/" + ("admin/nowhere/" if self.is_admins else self.path)
        return reverse(self.key, kwargs={name: self._value(name, values) for name in self.parameters})

    def _value(self, name: str, values: Mapping[str, object]) -> object:
        if not self.is_admins:
            return values[name]
        if name == "app_label":
            return "ingest"
        return self._first_row()

    def _first_row(self) -> object:
        """Return the key of a row for a page of the admin, whose path names the model."""
        _, app, model, *_ = self.path.split("/")
        for app_label, model_name in pairwise((app, model)):
            if app_label in apps.app_configs:
                row = apps.get_model(app_label, model_name)._default_manager.first()
                return row.pk if row else 1
        return 1


def routes() -> list[Route]:
    """Return every address, in the resolver's order."""
    return list(_walk(get_resolver().url_patterns))


def _walk(
    patterns: list[URLPattern | URLResolver], path: str = "", namespace: str = "", given: tuple[str, ...] = ()
) -> Iterator[Route]:
    for one in patterns:
        here = path + str(one.pattern)
        parameters = (*given, *_parameters(one.pattern))
        if isinstance(one, URLResolver):
            yield from _walk(one.url_patterns, here, namespace or one.namespace or "", parameters)
        else:
            name = f"{namespace}:{one.name}" if namespace else one.name
            yield Route(name if one.name and name else here, here, parameters, is_named=bool(one.name))


def _parameters(pattern: object) -> tuple[str, ...]:
    if isinstance(pattern, RoutePattern):
        return tuple(pattern.converters)
    assert isinstance(pattern, RegexPattern)
    return tuple(pattern.regex.groupindex)
