"""Signed update files for SWUpdate (.swu: cpio with checksums, signed with CMS), for tests.

Source: https://sbabic.github.io/swupdate/swupdate.html and …/signed_images.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Signer:
    """Who signs; `certificate` (PEM) is what the device is given."""

    key: rsa.RSAPrivateKey
    certificate: bytes

    @classmethod
    def make(cls) -> Signer:
        """A new one."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "firmware")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, content: bytes) -> bytes:
        """A detached signature (CMS, DER)."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(
            x509.load_pem_x509_certificate(self.certificate), self.key, hashes.SHA256()
        )
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
        return builder.sign(serialization.Encoding.DER, options)


def image(
    signer: Signer, *, version: str, hardware: str, content: bytes, path: str, script: str = ""
) -> bytes:
    """A signed .swu that writes `content` to `path` on the device, and runs `script` before, whose
    failure is the update's.
    """
    files = [("app.bin", content)]
    described = (
        f'files: ( {{ filename = "app.bin"; path = "{path}";'
        f' sha256 = "{hashlib.sha256(content).hexdigest()}"; }} );'
    )
    if script:
        files.insert(0, ("check.sh", script.encode()))
        digest = hashlib.sha256(script.encode()).hexdigest()
        described += (
            f' scripts: ( {{ filename = "check.sh"; type = "preinstall"; sha256 = "{digest}"; }} );'
        )
    description = (
        f'software = {{ version = "{version}"; hardware-compatibility: [ "{hardware}" ];'
        f" {described} }}\n"
    ).encode()
    signed = [("sw-description", description), ("sw-description.sig", signer.sign(description))]
    return archive([*signed, *files])


def archive(files: Sequence[tuple[str, bytes]]) -> bytes:
    """A cpio archive of the kind "crc", in which SWUpdate wants its files."""
    packed = b"".join(_entry(number, *file) for number, file in enumerate(files, start=1))
    packed += _entry(0, "TRAILER!!!", b"")
    return packed + b"\0" * (-len(packed) % 512)


def _entry(number: int, name: str, content: bytes) -> bytes:
    fields = (
        *(number, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0),
        *(len(name) + 1, sum(content) & 0xFFFFFFFF),
    )
    head = b"070702" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    head += b"\0" * (-len(head) % 4)
    return head + content + b"\0" * (-len(content) % 4)
