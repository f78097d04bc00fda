"""Files that set-up makes: icons and catalogues."""

from __future__ import annotations

import gettext
import json
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from portal.devstack import frontend, languages
from portal.devstack.errors import SetupError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, with two icons."""
    monkeypatch.setattr("portal.env.CHECKOUT", tmp_path)
    drawn = tmp_path / "node_modules/@tabler/icons/icons/outline"
    for folder in (drawn, tmp_path / "static/img", tmp_path / "static/vendor"):
        folder.mkdir(parents=True)
    shape = '<path stroke="none" d="M0 0h24v24H0z" fill="none" />\n  <path d="M4 4l16 16" />'
    (drawn / "x.svg").write_text(f'<svg viewBox="0 0 24 24">\n  {shape}\n</svg>')
    (tmp_path / "static/img/icons.svg").write_text('<svg><symbol id="bolt"></symbol>\n</svg>')
    return tmp_path


def wants(checkout: Path, *names: str) -> None:
    (checkout / "package.json").write_text(json.dumps({"wattline": {"icons": list(names)}}))


def test_sprite_has_own_symbols_and_those_of_the_package(checkout: Path) -> None:
    wants(checkout, "x")
    frontend.make_sprite()
    sprite = (checkout / "static/vendor/icons.svg").read_text()
    assert re.findall(r'<symbol id="(\w+)"', sprite) == ["bolt", "x"]
    assert '<path d="M4 4l16 16" /></symbol>' in sprite
    assert "M0 0h24v24H0z" not in sprite
    assert sprite.count("</svg>") == 1


def test_icon_that_does_not_exist_is_named(checkout: Path) -> None:
    wants(checkout, "nothing")
    with pytest.raises(SetupError, match="icon nothing"):
        frontend.make_sprite()


@pytest.fixture
def texts_of(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template and a module with texts, and an empty German catalogue."""
    (checkout / "templates").mkdir()
    (checkout / "templates/page.html").write_text(
        "{% load i18n %}<p>{% translate 'Facilities' %}</p>\n"
        '      <a title="{% translate "Say no" %}">{{ _("Short") }}</a>\n'
        "{% blocktranslate count n=rows|length %}{{ n }} row{% plural %}{{ n }} rows"
        "{% endblocktranslate %}{% blocktranslate with who=user.name %}Hello {{ who }}"
        "{% endblocktranslate %}"
    )
    (checkout / "portal").mkdir()
    (checkout / "portal/views.py").write_text(
        'def f():\n    return _("In %(zone)s"), ngettext("%(n)s day", "%(n)s days", 3)\n'
    )
    (checkout / "portal/tests").mkdir()
    (checkout / "portal/tests/test_x.py").write_text('_("Not this")\n')
    catalogue = checkout / "locale/de/LC_MESSAGES/django.po"
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n'
        '\nmsgid "Facilities"\nmsgstr "Standorte"\n\nmsgid "Gone"\nmsgstr "Weg"\n'
    )
    monkeypatch.setattr(languages, "COMPLETE", frozenset({"de"}))
    return catalogue


def ids(catalogue: Catalog) -> set[str]:
    return {str(m.id[0] if isinstance(m.id, tuple) else m.id) for m in catalogue if m.id}


def test_texts_of_templates_and_code_are_found(texts_of: Path) -> None:
    assert ids(languages.texts()) == {
        "Facilities",
        "Say no",
        "Short",
        "%(n)s row",
        "Hello %(who)s",
        "In %(zone)s",
        "%(n)s day",
    }


def test_catalogue_follows_the_texts_and_keeps_what_is_translated(texts_of: Path) -> None:
    assert "is behind the texts" in languages.check()[0].text
    languages.update_all()
    content = texts_of.read_text(encoding="utf-8")
    assert 'msgid "Facilities"\nmsgstr "Standorte"' in content
    assert "Gone" not in content
    assert "Date" not in content
    languages.update_all()
    assert texts_of.read_text(encoding="utf-8") == content
    assert {finding.text for finding in languages.check()} >= {"not translated: 'Short'"}


def test_text_marked_by_a_name_of_its_own_is_not_overlooked(texts_of: Path) -> None:
    module = texts_of.parents[3] / "portal/forms.py"
    module.write_text(
        'from django.utils.translation import gettext_lazy as later\nA = later("B")\n'
    )
    assert [finding.text for finding in languages.check() if not finding.language] == [
        "portal/forms.py: texts marked by `later` are not found; import it by its own name"
    ]


def test_translation_that_loses_a_placeholder_is_found(texts_of: Path) -> None:
    languages.update_all()
    content = texts_of.read_text(encoding="utf-8")
    spoilt = content.replace(
        'msgid "Hello %(who)s"\nmsgstr ""', 'msgid "Hello %(who)s"\nmsgstr "Hallo %(wer)s"'
    )
    assert spoilt != content
    texts_of.write_text(spoilt, encoding="utf-8")
    assert "placeholders differ: 'Hello %(who)s'" in {f.text for f in languages.check()}


def test_compiled_catalogue_is_read_by_gettext(texts_of: Path) -> None:
    languages.compile_all()
    with texts_of.with_suffix(".mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Facilities") == "Standorte"


def test_broken_catalogue_is_named(texts_of: Path) -> None:
    texts_of.write_text('msgid "a"\nnonsense\n', encoding="utf-8")
    with pytest.raises(SetupError, match=r"django\.po is no catalogue"):
        languages.compile_all()
