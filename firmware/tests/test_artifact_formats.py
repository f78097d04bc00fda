"""MCUboot images, SWUpdate archives and bare files: read when whole, refused in words when not."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from devices.versions import Version
from firmware.artifacts import mcuboot, swu
from firmware.artifacts.errors import ArtifactError
from firmware.artifacts.inspection import Inspected, inspect, require_version
from firmware.tests import images

MOST = 1_000_000
DESCRIPTION = b'software =\n{\n  version = "2.1.0";\n  images: ( );\n}\n'
ARCHIVE = images.swu(("sw-description", DESCRIPTION), ("app.bin", b"\1\2\3" * 50))


def _inspect(data: bytes, most: int = MOST) -> Inspected:
    return inspect(io.BytesIO(data), most=most)


def _refusal(data: bytes, most: int = MOST) -> str:
    with pytest.raises(ArtifactError) as caught:
        _inspect(data, most)
    return caught.value.code


def test_an_image_of_imgtool_is_read(tmp_path: Path) -> None:
    data = images.mcuboot(tmp_path, "1.4.2+7")
    found = _inspect(data)
    assert (found.sha256, found.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (found.format, found.version) == ("mcuboot", "1.4.2+7")
    body = 256 * 20
    assert found.header["header_size"] == images.HEADER
    assert found.header["image_size"] == body
    # imgtool's own hash is over header and firmware.
    assert found.header["sha256"] == hashlib.sha256(data[: images.HEADER + body]).hexdigest()
    assert found.header["boot_signature"] is False


def test_protected_tlvs_and_signatures_are_read(tmp_path: Path) -> None:
    key = tmp_path / "boot.pem"
    key.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    options = ("--key", str(key), "--security-counter", "3", "--sha", "256")
    data = images.mcuboot(tmp_path, "1.0.0", *options)
    found = mcuboot.read_image(io.BytesIO(data), len(data))
    assert found.signed
    assert mcuboot.Tlv.SECURITY_COUNTER in {kind for kind, _length in found.tlvs}


def test_a_padded_image_is_refused(tmp_path: Path) -> None:
    assert _refusal(images.mcuboot(tmp_path, "1.0.0", "--pad")) == "trailing"


@given(st.data())
def test_an_image_with_one_altered_byte_is_refused(data: st.DataObject) -> None:
    whole = _plain_image()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    altered = bytearray(whole)
    altered[at] ^= bit
    # A file without the magic number is a bare one; its signature is what protects it then.
    if at >= 4:
        assert _refusal(bytes(altered)) in {"header", "digest", "tlv", "trailing"}


@given(st.integers(4, 5 * 256))
def test_an_image_that_was_cut_off_is_refused(length: int) -> None:
    whole = _plain_image()
    assert _refusal(whole[: min(length, len(whole) - 1)]) in {"header", "tlv"}


def _plain_image() -> bytes:
    """The least that is an image, made by hand: the format written down a second time."""
    firmware = bytes(range(256)) * 4
    head = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, 32, 0, len(firmware), 0, 1, 2, 3, 0, 0)
    digest = hashlib.sha256(head + firmware).digest()
    return head + firmware + struct.pack("<HHHH", 0x6907, 8 + 32, 0x10, 32) + digest


def test_what_is_made_by_hand_is_read() -> None:
    data = _plain_image()
    assert mcuboot.read_image(io.BytesIO(data), len(data)).version == "1.2.3"


def test_an_image_without_a_hash_is_refused() -> None:
    data = _plain_image()[: 32 + 1024] + struct.pack("<HH", 0x6907, 4)
    assert _refusal(data) == "tlv"


def test_an_encrypted_image_is_taken_as_it_is() -> None:
    data = bytearray(_plain_image())
    data[16] |= mcuboot.Flag.ENCRYPTED_AES128
    assert mcuboot.read_image(io.BytesIO(data), len(data)).encrypted


@pytest.mark.parametrize("sums", [True, False])
def test_an_archive_of_swupdate_is_read(sums: bool) -> None:
    members = (("sw-description", DESCRIPTION), ("sw-description.sig", b"s"), ("a", b"123"))
    found = _inspect(images.swu(*members, sums=sums))
    assert (found.format, found.version) == ("swu", "2.1.0")
    assert found.header["members"] == [[name, len(data)] for name, data in members]
    assert found.header["boot_signature"] is True


def test_a_version_in_json_is_read() -> None:
    data = images.swu(("sw-description", b'{"software": {\n"version": "3.0.1",\n"images": []}}'))
    assert _inspect(data).version == "3.0.1"


def test_an_archive_that_was_altered_is_refused() -> None:
    data = bytearray(ARCHIVE)
    data[ARCHIVE.index(b"\1\2\3")] ^= 1
    assert _refusal(bytes(data)) == "digest"
    assert _refusal(images.swu(("app.bin", b"1"))) == "header"
    assert _refusal(images.swu()) == "header"


@given(st.integers(6, len(ARCHIVE) - 150))
def test_an_archive_that_was_cut_off_is_refused(length: int) -> None:
    assert _refusal(ARCHIVE[:length]) == "header"


@given(st.binary(max_size=400))
def test_no_bytes_do_harm(data: bytes) -> None:
    for start in (mcuboot.MAGIC_BYTES, b"070701", b"070702", b""):
        try:
            found = _inspect(start + data)
        except ArtifactError:
            continue
        assert found.size == len(start + data)
    assert swu.looks_like(b"070701")


def test_empty_and_long_files_are_refused() -> None:
    assert _refusal(b"") == "size"
    assert _refusal(bytes(101), most=100) == "size"
    assert _inspect(bytes(100), most=100).header == {"format": "raw"}


@pytest.mark.parametrize(
    "form", [(Encoding.PEM, PrivateFormat.PKCS8), (Encoding.DER, PrivateFormat.PKCS8)]
)
def test_a_private_key_is_refused(form: tuple[Encoding, PrivateFormat]) -> None:
    key = Ed25519PrivateKey.generate()
    assert _refusal(key.private_bytes(*form, NoEncryption())) == "private_key"
    openssh = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    assert _refusal(b"a comment\n" + openssh) == "private_key"


@pytest.mark.parametrize(
    ("told", "wanted", "fits"),
    [
        ("1.4.0", "1.4.0", True),
        ("1.4.0", "1.4.1", False),
        ("1.4.0", "1.4.0-rc.1", True),  # the header has no place for it
        ("1.4.0+7", "1.4.0", True),  # nor the release for a number that it does not mention
        ("1.4.0+7", "1.4.0+7", True),
        ("1.4.0+7", "1.4.0+8", False),
        ("1.4.0", "1.4.0+0", True),
        ("1.4.0", "1.4.0+5f2c", True),
    ],
)
def test_the_version_of_the_header_is_compared(told: str, wanted: str, fits: bool) -> None:
    found = Inspected("", 1, {"format": "mcuboot", "version": told})
    if fits:
        require_version(found, Version.parse(wanted))
    else:
        with pytest.raises(ArtifactError, match="header"):
            require_version(found, Version.parse(wanted))


def test_other_formats_are_compared_as_versions_or_as_text() -> None:
    require_version(Inspected("", 1, {"format": "raw"}), Version.parse("1.0.0"))
    require_version(Inspected("", 1, {"format": "swu", "version": ""}), Version.parse("1.0.0"))
    archive = Inspected("", 1, {"format": "swu", "version": "2024-01"})
    with pytest.raises(ArtifactError, match="2024-01"):
        require_version(archive, Version.parse("1.0.0"))
