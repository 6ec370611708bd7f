"""What people may say about a team: whom to invite, in which role, to which sites."""

import re
from collections.abc import Mapping, Sequence

from django import forms

from ingest.models import Organisation, Role, Site

MAX_EMAIL_CHARS = 150  # who accepts gets it as the user name, whose column has no more
ALL, SOME = "all", "some"
# Control characters, and those that override the direction of the text after them, such as another person's name.
_TURNS_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class RoleForm(forms.Form):
    """A role and the sites that come with it. `roles` are those that may be given."""

    role = forms.ChoiceField(error_messages={"required": "Choose a role.", "invalid_choice": "Choose a role."})
    reach = forms.ChoiceField(choices=[(ALL, ALL), (SOME, SOME)], required=False)
    sites = forms.ModelMultipleChoiceField(
        Site.objects.none(),
        to_field_name="public_id",
        required=False,
        error_messages={"invalid_choice": "Choose sites of this organisation.", "invalid_pk_value": "Choose sites."},
    )

    def __init__(
        self, data: Mapping[str, object] | None, organisation: Organisation, roles: Sequence[Role], prefix: str = ""
    ) -> None:
        super().__init__(data, prefix=prefix or None)
        role, sites = self.fields["role"], self.fields["sites"]
        assert isinstance(role, forms.ChoiceField)
        assert isinstance(sites, forms.ModelMultipleChoiceField)
        role.choices = [(role.value, role.label) for role in roles]
        sites.queryset = organisation.sites.order_by("name", "pk")

    def clean(self) -> dict[str, object]:
        """Say where "some sites" lists none."""
        cleaned = super().clean() or {}
        if cleaned.get("reach") == SOME and not cleaned.get("sites") and "sites" not in self.errors:
            self.add_error("sites", "Choose at least one site, or all sites.")
        return cleaned

    @property
    def given_role(self) -> Role:
        """Return the role of a valid form."""
        return Role(self.cleaned_data["role"])

    @property
    def given_sites(self) -> list[Site] | None:
        """Return the sites of a valid form; None means all."""
        return list(self.cleaned_data["sites"]) if self.cleaned_data["reach"] == SOME else None

    @property
    def chosen(self) -> set[str]:
        """Return the sites that were ticked, as text, to tick them again."""
        return {str(value) for value in (self["sites"].value() or [])}


class InviteForm(RoleForm):
    """Whom to invite, besides."""

    email = forms.EmailField(
        max_length=MAX_EMAIL_CHARS,
        error_messages={
            "required": "Enter an email address.",
            "invalid": "Enter an email address, such as name@example.com.",
        },
    )


class NameForm(forms.Form):
    """A name of a person or an organisation: one line."""

    name = forms.CharField(max_length=100, error_messages={"required": "Enter a name."})

    def clean_name(self) -> str:
        """Return the name with its spaces put in order. What turns the text around it is refused, joiners are not."""
        name = " ".join(self.cleaned_data["name"].split())
        if _TURNS_TEXT.search(name):
            raise forms.ValidationError("The name has characters that cannot be seen. Type it instead of pasting it.")
        return name
