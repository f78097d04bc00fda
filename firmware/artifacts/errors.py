"""What can be wrong with a file."""

from __future__ import annotations


def gettext_noop(text: str) -> str:
    """Marks a sentence for the catalogues; what is here knows no Django."""
    return text


class ArtifactError(ValueError):
    """A file is not what it should be.

    `code` is stable (`header`, `digest`, `size`, `private_key` …). The message is a sentence for
    the person who brought the file, in English; `template` with `values` is what it was made of, so
    that whoever knows the reader's language says it in that.
    """

    def __init__(self, code: str, template: str, **values: object) -> None:
        super().__init__(template % values if values else template)
        self.code = code
        self.template = template
        self.values = values
