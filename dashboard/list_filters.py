"""A list's filter as its page shows it: in the address, as chips, and what of it was not understood. No HTML here."""

from collections.abc import Mapping
from typing import ClassVar

from django import forms
from django.http import QueryDict

from dashboard.wording import listed


class ListFilter(forms.Form):
    """A list's query string. What makes no sense is left out, and `problems` says so.

    `names` are the fields as a sentence calls them.
    """

    names: ClassVar[Mapping[str, str]]

    def value(self, name: str) -> str:
        """Return what a field asks for, "" when it asks for nothing or for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(name) or "")

    def labels(self) -> Mapping[str, str]:
        """Return the fields that have chips, each as its chip says it."""
        raise NotImplementedError

    @property
    def problems(self) -> str:
        """Return which filters were not understood, in words; empty when all were."""
        return listed([self.names[name] for name in self.errors if name in self.names])

    def query(self, **changes: str) -> QueryDict:
        """Return the fields with some of them changed; what says nothing is left out."""
        fields = {name: self.value(name) for name in self.names} | changes
        query = QueryDict(mutable=True)
        query.update({name: text for name, text in fields.items() if text})
        return query

    def address(self, **changes: str) -> str:
        """Return the list's query string with some fields changed."""
        return f"?{self.query(**changes).urlencode()}"

    def chips(self) -> list[tuple[str, str]]:
        """Return each filter in force, in words, with the address of the list without it."""
        return [(label, self.address(**{name: ""})) for name, label in self.labels().items() if self.value(name)]
