"""The catalogues of translations, without a system's gettext.

`python -m portal.devstack messages` brings every `locale/*/LC_MESSAGES/django.po` to what code and
templates say; `compile_all` makes the binary catalogues, which git ignores, whenever their source
is newer. Templates become Python by Django's own `templatize`, and Babel finds the calls in both.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po, write_po

from portal import env
from portal.devstack.errors import SetupError

# Where texts of the product stand; tests have none.
_FOLDERS: Final = ("tenants", "devices", "firmware", "billing", "portal")
_KEYWORDS: Final = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "sentence": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# A language stands here once all of its texts are there; from then on a missing one is an error.
COMPLETE: Final[frozenset[str]] = frozenset({"de"})
_IMPORT: Final = re.compile(r"^from django\.utils\.translation import (.+)$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sd]|\{(\w*)\}")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a catalogue, in a sentence."""

    language: str
    text: str


def languages() -> list[str]:
    """The codes of the languages that have a catalogue."""
    return sorted(path.parent.parent.name for path in _locale().glob("*/LC_MESSAGES/django.po"))


def compile_all() -> None:
    """Makes the binary catalogues whose source is newer. Raises SetupError for a broken source."""
    for code in languages():
        source, target = _path(code), _path(code).with_suffix(".mo")
        if target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            continue
        catalogue = _read(code)
        content = io.BytesIO()
        write_mo(content, catalogue)
        target.write_bytes(content.getvalue())


def update_all() -> None:
    """Brings the catalogues to the texts of code and templates; translations of texts that are gone
    are dropped."""
    current = texts()
    for code in languages():
        _path(code).write_bytes(_updated(code, current))


def check() -> list[Finding]:
    """What is wrong: catalogues that are behind, texts not translated, lost placeholders."""
    current = texts()
    found = [
        Finding("", f"{path}: texts marked by `{alias}` are not found; import it by its own name")
        for path, alias in _aliases()
    ]
    for code in languages():
        catalogue = _read(code)
        found += [
            Finding(code, f"placeholders differ: {_source(message)!r}")
            for message in catalogue
            if message.id and _lost(message)
        ]
        if code not in COMPLETE:
            continue
        if _path(code).read_bytes() != _updated(code, current):
            found.append(
                Finding(code, "is behind the texts: run `python -m portal.devstack messages`")
            )
        found += [
            Finding(code, f"not translated: {_source(message)!r}")
            for message in catalogue
            if message.id and (not _translated(message) or message.fuzzy)
        ]
    return found


def texts() -> Catalog:
    """Every text of code and templates that is meant to be translated."""
    catalogue = Catalog(charset="utf-8", fuzzy=False)
    for path in _sources():
        content = path.read_text(encoding="utf-8")
        if path.suffix in {".html", ".txt"}:
            content = _as_python(content, path)
        lines = io.BytesIO(content.encode())
        for _line, found, _comments, context in extract("python", lines, _KEYWORDS):
            if found and found != "":
                catalogue.add(found, context=context)
    return catalogue


def _sources() -> Iterator[Path]:
    for folder in _FOLDERS:
        for path in sorted((env.CHECKOUT / folder).rglob("*.py")):
            if not {"tests", "migrations", "devstack", "benchmarks"} & set(path.parts):
                yield path
    templates = env.CHECKOUT / "templates"
    yield from sorted(path for path in templates.rglob("*") if path.suffix in {".html", ".txt"})


def _aliases() -> Iterator[tuple[Path, str]]:
    """The modules that mark texts by a name that the search does not know."""
    for path in _sources():
        if path.suffix == ".py":
            for names in _IMPORT.findall(path.read_text(encoding="utf-8")):
                for _name, alias in re.findall(r"(\w+) as (\w+)", names):
                    if alias not in _KEYWORDS:
                        yield path.relative_to(env.CHECKOUT), alias


def _as_python(content: str, path: Path) -> str:
    """The calls of a template as lines of Python, the rest blanked out."""
    from django.utils.translation.template import templatize

    # What stands around the calls is no Python: only the calls go on.
    return "\n".join(_CALL.findall(templatize(content, origin=str(path))))


_STRING: Final = r"""(?:u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*")"""
_CALL: Final = re.compile(
    rf"(?:_|gettext|ngettext|pgettext|npgettext)\(\s*{_STRING}(?:\s*,\s*{_STRING})*[^)]*\)",
    re.DOTALL,
)


def _updated(code: str, current: Catalog) -> bytes:
    """The source of a catalogue with the `current` texts."""
    old = _read(code)
    new = Catalog(locale=code, charset="utf-8", fuzzy=False, header_comment=old.header_comment)
    for message in current:
        if not message.id:
            continue
        known = old.get(message.id, message.context)
        string = known.string if known and _same_shape(known, message) else None
        new.add(message.id, string, context=message.context, flags=_flags(message))
    content = io.BytesIO()
    write_po(content, new, width=100, no_location=True, omit_header=False, sort_output=True)
    lines = content.getvalue().decode().splitlines(keepends=True)
    # Dates and the tool's version would differ with every run and collide in every merge.
    kept = (line for line in lines if not line.startswith(_CHANGING))
    return "".join(kept).encode()


_CHANGING: Final = (
    '"POT-Creation-Date',
    '"PO-Revision-Date',
    '"Generated-By',
    '"Last-Translator',
    '"Language-Team',
    '"Report-Msgid-Bugs-To',
    '"Project-Id-Version',
)


def _flags(message: Message) -> set[str]:
    return message.flags & {"python-format", "python-brace-format"}


def _same_shape(one: Message, other: Message) -> bool:
    return one.pluralizable == other.pluralizable and one.id == other.id


def _strings(text: object) -> list[str]:
    """A text or its forms of number; empty ones for what is missing."""
    return [str(form or "") for form in (text if isinstance(text, list | tuple) else [text])]


def _translated(message: Message) -> bool:
    return all(_strings(message.string))


def _lost(message: Message) -> bool:
    """Whether a translation names a placeholder that its source lacks, or leaves one out where
    every number is meant."""
    if not _translated(message):
        return False
    sources = [_placeholders(text) for text in _strings(message.id)]
    strings = [_placeholders(text) for text in _strings(message.string)]
    known = set().union(*sources)
    return strings[-1] != sources[-1] or any(not names <= known for names in strings)


def _placeholders(text: str) -> set[str]:
    return {one or other for one, other in _PLACEHOLDER.findall(text)}


def _source(message: Message) -> str:
    return _strings(message.id)[0]


def _read(code: str) -> Catalog:
    path = _path(code)
    try:
        with path.open("rb") as file:
            return read_po(file, locale=code, abort_invalid=True)
    except (PoFileError, ValueError) as error:
        raise SetupError(f"{path} is no catalogue: {error}") from error


def _locale() -> Path:
    return env.CHECKOUT / "locale"


def _path(code: str) -> Path:
    return _locale() / code / "LC_MESSAGES" / "django.po"
