"""Forms of a tenant's sign-in settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from portal.frame.forms import FieldGroup, GroupedForm
from tenants.domain.authority import givable
from tenants.domain.company_operations import LoginDraft
from tenants.models import CompanyLogin, SecondFactor
from tenants.permission_texts import ROLE_TEXTS

Choices = list[tuple[str, Any]]


class PolicyForm(forms.Form):
    """Of whom a second factor is demanded."""

    second_factor = forms.ChoiceField(
        label=_("Who needs a second step to sign in?"),
        choices=SecondFactor.choices,
        widget=forms.RadioSelect,
        help_text=_("Holds for this tenant and all below it. A passkey counts as both steps."),
    )


class LoginForm(GroupedForm, forms.Form):
    """An organisation's OpenID provider."""

    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        help_text=_("Stands on the button: “Continue with …”."),
    )
    issuer = forms.CharField(
        label=_("Address of the provider (issuer)"),
        max_length=300,
        widget=forms.URLInput({"placeholder": "https://login.example.org"}),
        help_text=_("Exactly as the provider states it, with or without a slash at the end."),
    )
    client_id = forms.CharField(label=_("Client ID"), max_length=255)
    client_secret = forms.CharField(
        label=_("Client secret"),
        max_length=2000,
        required=False,
        strip=True,
        widget=forms.PasswordInput({"autocomplete": "off"}),
    )
    extra_scopes = forms.CharField(
        label=_("Further scopes"),
        max_length=200,
        required=False,
        help_text=_("Separated by spaces, if the provider wants one for groups."),
    )
    is_active = forms.BooleanField(
        label=_("Turned on"), required=False, initial=True, help_text=_("People may sign in by it.")
    )
    groups_claim = forms.CharField(
        label=_("Claim with the groups"), max_length=60, initial="groups"
    )
    default_role = forms.ChoiceField(
        label=_("Role of everybody else"),
        required=False,
        help_text=_("Whoever is in none of the groups below gets this role, or does not get in."),
    )

    groups = (
        FieldGroup(
            _("Provider"),
            ("name", "issuer", "client_id", "client_secret", "extra_scopes", "is_active"),
        ),
        FieldGroup(
            _("Roles"),
            ("groups_claim", "default_role"),
            _("The groups that the provider names give the role, at each sign-in anew."),
        ),
    )

    def __init__(
        self, *args: Any, roles: Choices, login: CompanyLogin | None, **kwargs: Any
    ) -> None:
        if login is not None:
            names = (
                *("name", "issuer", "client_id", "extra_scopes", "is_active"),
                *("groups_claim", "default_role"),
            )
            kwargs["initial"] = {name: getattr(login, name) for name in names}
        super().__init__(*args, **kwargs)
        field = self.fields["default_role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("None: they do not get in")), *roles]
        self.fields["client_secret"].help_text = (
            _("Kept encrypted. Leave it empty to keep the one that is there.")
            if login
            else _("Kept encrypted, and shown to nobody.")
        )

    def draft(self, rules: tuple[tuple[str, str], ...]) -> LoginDraft:
        """What was filled in, with the rules beside it."""
        cleaned = self.cleaned_data
        return LoginDraft(
            **{name: cleaned[name] for name in cleaned if name != "role_rules"}, role_rules=rules
        )


class RuleForm(forms.Form):
    """Which role a group gives."""

    group = forms.CharField(label=_("Group"), max_length=200, required=False)
    role = forms.ChoiceField(label=_("Role"), required=False)

    def __init__(self, *args: Any, roles: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "–"), *roles]

    def clean(self) -> dict[str, Any]:
        """Both or neither."""
        group, role = self.cleaned_data.get("group"), self.cleaned_data.get("role")
        if bool(group) != bool(role):
            raise ValidationError(_("A rule needs a group and a role."))
        return self.cleaned_data


if TYPE_CHECKING:
    # Generic for the type checker alone.
    _BaseFormSet = forms.BaseFormSet[RuleForm]
else:
    _BaseFormSet = forms.BaseFormSet


class Rules(_BaseFormSet):
    """All rules, with some empty lines for further ones."""

    def rules(self) -> tuple[tuple[str, str], ...]:
        """The rules in their order, empty lines left out."""
        return tuple(
            (form.cleaned_data["group"], form.cleaned_data["role"])
            for form in self.forms
            if form.cleaned_data.get("group")
        )


RuleFormSet = cast(type[Rules], forms.formset_factory(RuleForm, formset=Rules, extra=2, max_num=50))


class DomainForm(forms.Form):
    """A domain of e-mail addresses."""

    domain = forms.CharField(
        label=_("Domain"),
        max_length=253,
        widget=forms.TextInput({"placeholder": "example.org", "autocapitalize": "none"}),
        help_text=_("The part of your people's e-mail addresses behind the @."),
    )


class EnforceForm(forms.Form):
    """Whether people may still use password and passkey."""

    enforced = forms.BooleanField(
        label=_("Demand the company login"),
        required=False,
        help_text=_("Password and passkey are refused to the people of the proven domains."),
    )
    break_glass_email = forms.EmailField(
        label=_("Exempt person"),
        max_length=254,
        required=False,
        help_text=_(
            "One administrator who keeps the password, for the day when the provider does not "
            "answer."
        ),
    )

    def clean(self) -> dict[str, Any]:
        """The exempt person is named when it is demanded."""
        cleaned = self.cleaned_data
        if cleaned.get("enforced") and not cleaned.get("break_glass_email"):
            self.add_error("break_glass_email", _("Name the person who keeps the password."))
        return cleaned


def role_choices(*, actor_id: int, tenant_id: int) -> Choices:
    """The roles that the actor may give in a tenant, as they stand in rules."""
    built_in, custom = givable(actor_id=actor_id, tenant_id=tenant_id)
    return [
        *((role.value, ROLE_TEXTS[role].label) for role in built_in),
        *((str(role.role_id), role.name) for role in custom),
    ]
