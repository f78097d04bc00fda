"""Signatures of releases, and the command that makes them away from any installation."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from devices.protocol.manifest import Manifest
from firmware.artifacts import signing
from firmware.artifacts.errors import ArtifactError
from firmware.artifacts.signing import SignatureFile
from firmware.tests import images

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
MANIFEST = Manifest("meter-3p", ("rev A", "rev B"), "1.4.0", bytes(32), 1000)
SIGNED = SignatureFile.make(KEY, MANIFEST)


def _sign(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as on a machine with nothing but the packages: no settings, no servers."""
    return subprocess.run(
        [sys.executable, str(MANAGE), "sign_firmware", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_signature_file_is_read_as_it_was_written() -> None:
    found = SignatureFile.load(SIGNED.dump().encode())
    assert found == SIGNED
    assert found.read() == MANIFEST
    found.verify(PUBLIC)


@given(st.integers(0, len(SIGNED.manifest) - 1), st.integers(0, 7))
def test_an_altered_manifest_is_refused(at: int, bit: int) -> None:
    altered = bytearray(SIGNED.manifest)
    altered[at] ^= 1 << bit
    with pytest.raises(ArtifactError):
        SignatureFile(bytes(altered), SIGNED.signature, SIGNED.key_id).verify(PUBLIC)


@given(st.integers(0, 63), st.integers(0, 7))
def test_an_altered_signature_is_refused(at: int, bit: int) -> None:
    altered = bytearray(SIGNED.signature)
    altered[at] ^= 1 << bit
    with pytest.raises(ArtifactError):
        SignatureFile(SIGNED.manifest, bytes(altered), SIGNED.key_id).verify(PUBLIC)


def test_another_key_and_another_purpose_are_refused() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(ArtifactError):
        SIGNED.verify(other)
    bare = SignatureFile(SIGNED.manifest, KEY.sign(SIGNED.manifest), SIGNED.key_id)
    with pytest.raises(ArtifactError):
        bare.verify(PUBLIC)


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_no_bytes_are_a_signature_file_by_chance(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        SignatureFile.load(data)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"manifest": "!"},
        {"manifest": ""},
        {"signature": "AAAA"},
        {"manifest": 3},
        {"key_id": None, "manifest": None},
    ],
)
def test_a_damaged_signature_file_is_refused(change: dict[str, object]) -> None:
    document = json.loads(SIGNED.dump()) | change
    with pytest.raises(ArtifactError):
        SignatureFile.load(json.dumps(document).encode())


def test_a_file_that_is_too_long_is_not_read() -> None:
    document = json.loads(SIGNED.dump()) | {"more": "x" * signing.LONGEST_FILE}
    with pytest.raises(ArtifactError, match="too long"):
        SignatureFile.load(json.dumps(document).encode())


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_public_key_is_taken_in_pem_alone() -> None:
    assert signing.public_key_of(_pem(KEY)) == PUBLIC
    assert signing.key_id(PUBLIC) == hashlib.sha256(PUBLIC).hexdigest()[:16]
    rsa_key = rsa.generate_private_key(65537, 1024).public_key()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    others = [
        one.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for one in (rsa_key, curve)
    ]
    for data in (PUBLIC, PUBLIC.hex().encode(), b"", b"-----BEGIN PUBLIC KEY-----\n", *others):
        with pytest.raises(ArtifactError, match="no Ed25519 public key"):
            signing.public_key_of(data)


@pytest.mark.parametrize("protection", [NoEncryption(), BestAvailableEncryption(b"secret")])
def test_a_private_key_is_refused_where_a_public_one_or_a_signature_belongs(
    protection: NoEncryption,
) -> None:
    openssh = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    for data in (KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), openssh):
        for read in (signing.public_key_of, SignatureFile.load):
            with pytest.raises(ArtifactError) as caught:
                read(data)
            assert caught.value.code == "private_key"


def test_an_image_is_signed_without_an_installation(tmp_path: Path) -> None:
    key, image = tmp_path / "release.pem", tmp_path / "meter.img"
    made = _sign("--new-key", key)
    assert (made.returncode, made.stderr) == (0, "")
    assert key.stat().st_mode & 0o777 == 0o600
    image.write_bytes(images.mcuboot(tmp_path, "1.4.0"))
    arguments = ("--key", key, "--type", "meter-3p", "--firmware-version", "1.4.0")
    done = _sign(image, *arguments, "--hardware", "rev A", "--hardware", "rev B")
    assert (done.returncode, done.stderr) == (0, "")
    signed = SignatureFile.load((tmp_path / "meter.img.sig.json").read_bytes())
    public = signing.public_key_of((tmp_path / "release.pem.public.pem").read_bytes())
    signed.verify(public)
    data = image.read_bytes()
    digest = hashlib.sha256(data).digest()
    assert signed.read() == Manifest("meter-3p", ("rev A", "rev B"), "1.4.0", digest, len(data))
    assert signing.key_id(public) in made.stdout


def test_a_key_with_a_password_and_one_of_32_bytes_sign(tmp_path: Path) -> None:
    image = tmp_path / "meter.bin"
    image.write_bytes(b"firmware")
    protected, bare = tmp_path / "protected.pem", tmp_path / "bare"
    made = _sign("--new-key", protected, "--password", WATTLINE_KEY_PASSWORD="a good one")
    assert (made.returncode, made.stderr) == (0, "")
    assert b"ENCRYPTED" in protected.read_bytes()
    bare.write_bytes(bytes(range(32)))
    arguments = (image, "--type", "meter-3p", "--firmware-version", "1.4.0", "--key")
    assert _sign(*arguments, protected, WATTLINE_KEY_PASSWORD="another").returncode == 1
    assert _sign(*arguments, protected, WATTLINE_KEY_PASSWORD="a good one").returncode == 0
    assert _sign(*arguments, bare).returncode == 0
    SignatureFile.load((tmp_path / "meter.bin.sig.json").read_bytes()).verify(PUBLIC)


def test_what_cannot_be_signed_is_told(tmp_path: Path) -> None:
    key, image = tmp_path / "bare", tmp_path / "meter.img"
    key.write_bytes(bytes(range(32)))
    image.write_bytes(images.mcuboot(tmp_path, "1.4.0"))
    wrong = _sign(image, "--key", key, "--type", "m", "--firmware-version", "1.5.0")
    assert (wrong.returncode, "says version 1.4.0" in wrong.stderr) == (1, True)
    bad = _sign(image, "--key", key, "--type", "m", "--firmware-version", "1.5")
    assert (bad.returncode, "semantic version" in bad.stderr) == (1, True)
    missing = _sign(image, "--key", key)
    assert (missing.returncode, "--type, --firmware-version" in missing.stderr) == (1, True)
    absent = _sign(tmp_path / "no", "--key", key, "--type", "m", "--firmware-version", "1.4.0")
    assert (absent.returncode, "No such file" in absent.stderr) == (1, True)
    again = _sign("--new-key", key)
    assert (again.returncode, "never overwritten" in again.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "app.bin",
        "app.img",
        "bare",
        "meter.img",
    ]
