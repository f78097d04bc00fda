"""What the engines refuse, in the reader's language."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from django.utils.translation import gettext

from billing.accounts.dunning import PolicyError
from billing.accounts.instalments import PlanError
from billing.payments.values import StatementError
from billing.tariffs.sentences import Sentence, sentence, sentence_of

# What workers keep in English, because nobody reads it at that time.
_KEPT: Final = (
    sentence("Component “%(component)s” has %(what)s at %(at)s (%(zone)s)."),
    sentence("The tariff has %(what)s at %(at)s (%(zone)s)."),
    sentence("no price in the series “%(series)s”"),
    sentence("There are no prices “%(series)s”."),
    sentence(
        "The prices “%(series)s” change every %(step)s minutes, within the %(interval)s minutes"
        " that the tariff goes by."
    ),
    sentence("No tariff holds from %(first)s until %(end)s."),
    sentence(
        "The tariff “%(name)s” asks for the contracted power, and the agreement names none from"
        " %(first)s on."
    ),
    sentence("The component “%(name)s” needs reactive energy, which is not measured here."),
    sentence(
        "From %(first)s until %(end)s no published tariff holds: agree on one, or publish it."
    ),
    sentence("An e-invoice has two decimals: %(number)s asks for %(total)s %(currency)s."),
    sentence(
        "The tariff is in %(tariff)s and the agreement in %(agreement)s: agree on a tariff in the"
        " same currency."
    ),
)


def in_words(error: PlanError | PolicyError | StatementError) -> str:
    """The sentence of an error in the language in use, with the line where it is about one."""
    sentence = gettext(error.template)
    if error.values:
        sentence %= error.values
    if isinstance(error, StatementError) and error.line is not None:
        return gettext("Line %(line)d: %(sentence)s") % {"line": error.line, "sentence": sentence}
    return sentence


def spoken(text: str) -> str:
    """A sentence of the engines in the language in use; one that was kept, too. Another text stays
    as it is.
    """
    if not text:
        return ""
    if isinstance(text, Sentence):
        return _said(text.template, text.values)
    for template, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return _said(template, dict(found.groupdict()))
    return gettext(text)


def spoken_of(error: Exception) -> str:
    """What an error of the engines says, in the language in use."""
    return spoken(sentence_of(error))


def _said(template: str, values: dict[str, object]) -> str:
    if not values:
        return gettext(template)
    told = {name: spoken(one) if isinstance(one, str) else one for name, one in values.items()}
    return gettext(template) % told


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The kept sentences, as what finds their values in them again."""
    named = r"%\\\((\w+)\\\)s"
    return tuple(
        (str(one), re.compile(re.sub(named, r"(?P<\1>.+)", re.escape(one)), re.DOTALL))
        for one in _KEPT
    )
