"""Sentences of what knows no reader's language: in English, and with what they were made of."""

from __future__ import annotations


class Sentence(str):
    """A sentence in English that keeps its `template` and `values`, so that whoever knows the
    reader's language says it in that (`billing.domain.sentences.spoken`).
    """

    __slots__ = ("template", "values")

    template: str
    values: dict[str, object]


def sentence(template: str, **values: object) -> Sentence:
    """A sentence of a template, which the catalogues take from here, and its values: numbers, names
    or other sentences.
    """
    told = {name: _plain(value) for name, value in values.items()}
    made = Sentence(template % told if told else template)
    made.template, made.values = template, told
    return made


def sentence_of(error: Exception) -> str:
    """What an error says."""
    said = error.args[0] if error.args else ""
    return said if isinstance(said, Sentence) else str(error)


def _plain(value: object) -> object:
    """An error by what it says: nothing that holds on to where it was raised."""
    return sentence_of(value) if isinstance(value, Exception) else value
