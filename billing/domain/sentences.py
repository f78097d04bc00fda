"""What the engines refuse, in the reader's language."""

from __future__ import annotations

from django.utils.translation import gettext

from billing.accounts.dunning import PolicyError
from billing.accounts.instalments import PlanError
from billing.payments.values import StatementError


def in_words(error: PlanError | PolicyError | StatementError) -> str:
    """The sentence of an error in the language in use, with the line where it is about one."""
    sentence = gettext(error.template)
    if error.values:
        sentence %= error.values
    if isinstance(error, StatementError) and error.line is not None:
        return gettext("Line %(line)d: %(sentence)s") % {"line": error.line, "sentence": sentence}
    return sentence
