"""A bill as PDF: tagged for screen readers (PDF/UA-1), to be kept for ever (PDF/A-3a).

Typst makes it (https://typst.app/docs), which writes tags, checks both standards while it does, and
takes some milliseconds. The same values make the same bytes: nothing comes from the clock.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, time
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import typst

from billing.documents.sheet import sheet
from billing.documents.values import BillDocument, DocumentError

STANDARDS: Final[list[Any]] = ["a-3a", "ua-1"]
_TEMPLATE: Final = Path(__file__).with_name("bill.typ").read_bytes()
# Characters that the fonts of the package have; others need a font on the machine.
_COVERED: Final = (
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x37E, 0x3CE),
    (0x400, 0x45F),
    (0x1E00, 0x1EFF),
    (0x2010, 0x2026),
    (0x20A0, 0x20BF),
    (0x2212, 0x2212),
)
_LOCK: Final = threading.Lock()


def pdf(document: BillDocument, einvoice: bytes = b"") -> bytes:
    """The document as PDF, with the e-invoice in it where there is one (as an alternative of the
    whole, `factur-x.xml`; `facturx.embed` adds what that standard wants to be said about it).

    Text in letters that no font of the machine has becomes question marks: the data in the document
    has it as it is. Raises DocumentError when the page cannot be set.
    """
    made = sheet(document, embedded=bool(einvoice))
    files = {"main.typ": _TEMPLATE}
    if einvoice:
        files["factur-x.xml"] = einvoice
    if made.code:
        files["code.svg"] = made.code
    if document.brand.logo:
        files["logo"] = document.brand.logo
    at = datetime.combine(document.issued_on, time(), UTC)
    try:
        return _set(files, made.page, at)
    except typst.TypstError:
        try:
            return _set(files, _legible(made.page), at)
        except typst.TypstError as error:
            raise DocumentError(
                f"The PDF of {document.number} could not be set: {error.message[:300]}."
            ) from error


def _set(files: dict[str, bytes], page: dict[str, Any], at: datetime) -> bytes:
    source = files | {"sheet.json": json.dumps(page).encode()}
    # One page is set at a time: the compiler keeps what it has learned about fonts and template.
    with _LOCK:
        made = _compiler().compile(source, format="pdf", pdf_standards=STANDARDS, timestamp=at)
    assert isinstance(made, bytes)
    return made


@lru_cache(maxsize=1)
def _compiler() -> Any:
    found = find_spec("font_source_sans_pro")
    assert found is not None, "requirements.txt names it"
    assert found.origin is not None
    fonts = typst.Fonts(font_paths=[Path(found.origin).parent / "files"])
    return typst.Compiler(font_paths=fonts)


def _legible(value: Any) -> Any:
    """The same with question marks for what the fonts may not have."""
    if isinstance(value, str):
        return "".join(
            sign if any(low <= ord(sign) <= high for low, high in _COVERED) else "?"
            for sign in value
        )
    if isinstance(value, dict):
        return {key: _legible(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_legible(one) for one in value]
    return value
