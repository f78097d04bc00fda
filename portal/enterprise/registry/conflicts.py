"""An edit that somebody else was quicker with: what has changed, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from devices.domain.registry_queries import Choice
from devices.domain.registry_versions import ChangedMeanwhile
from portal.enterprise.registry import texts
from portal.enterprise.registry.forms import BasedOnForm


@dataclass(frozen=True, slots=True)
class Change:
    """A field that has another value than when the form was opened."""

    label: str
    before: str
    after: str
    mine: str


def explain(
    form: BasedOnForm, error: ChangedMeanwhile, *choices: tuple[str, Sequence[Choice]]
) -> list[Change]:
    """The changes for the template; saving the form once more overwrites them knowingly."""
    names: dict[str, dict[Any, str]] = {
        field: {choice.pk: choice.label for choice in known} for field, known in choices
    }
    form.add_error(None, _("Somebody else has changed this meanwhile. Look at what is new below."))
    form.rebase(error.current)
    return [
        Change(
            label=str(texts.FIELDS.get(change.field, change.field)),
            before=texts.shown(change.field, change.before, names),
            after=texts.shown(change.field, change.after, names),
            mine=texts.shown(change.field, form.cleaned_data.get(change.field), names),
        )
        for change in error.changes
    ]
