"""Development certificates: a private authority, and the bridge's certificate signed by it.

Files in `$WATTLINE_HOME/tls`: `ca.pem` (what a device pins), `bridge.pem` (certificate and
authority), `bridge.key`. The authority's key is kept in the folder `secrets`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portal.devstack.home import Home, write_atomic, write_private
from portal.devstack.packages import Say

_AUTHORITY_DAYS = 3650
_BRIDGE_DAYS = 397
# The bridge's certificate is made anew when it would end within this time.
_RENEW_DAYS = 30
_DAY = dt.timedelta(days=1)


def ensure(home: Home, say: Say, now: dt.datetime | None = None) -> Path:
    """Makes what is missing or about to expire; returns the folder."""
    now = now or dt.datetime.now(dt.UTC)
    folder = home.path / "tls"
    folder.mkdir(exist_ok=True)
    names = ["localhost", socket.gethostname()]
    with home.lock("tls"):
        if not _is_sound(folder, names, now):
            _make(home, folder, names, now, say)
    return folder


def _make(home: Home, folder: Path, names: list[str], now: dt.datetime, say: Say) -> None:
    say("making certificates for the bridge")
    authority_key, authority = _authority(home, folder, now)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in dict.fromkeys(names)),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
    )
    certificate = (
        _builder("Wattline bridge", authority.subject, key.public_key(), now, _BRIDGE_DAYS)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    write_private(folder / "bridge.key", _key_text(key))
    write_atomic(folder / "bridge.pem", _pem(certificate) + _pem(authority), 0o644)


def _is_sound(folder: Path, names: list[str], now: dt.datetime) -> bool:
    """Whether all files are there, fit each other and this host, and last long enough."""
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        certificate = x509.load_pem_x509_certificate((folder / "bridge.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "bridge.key").read_bytes(), None)
    except (OSError, ValueError):
        return False
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return (
        certificate.issuer == authority.subject
        and certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc - now > _RENEW_DAYS * _DAY
        and set(names) <= set(alternatives.value.get_values_for_type(x509.DNSName))
    )


def _authority(
    home: Home, folder: Path, now: dt.datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The authority of this copy; kept, so that devices that pinned it go on trusting us."""
    key_file, certificate_file = home.secrets / "ca.key", folder / "ca.pem"
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (OSError, ValueError):
        pass  # made below
    else:
        fits = certificate.public_key() == key.public_key()
        lasts = certificate.not_valid_after_utc - now > _BRIDGE_DAYS * _DAY
        if fits and lasts and isinstance(key, ec.EllipticCurvePrivateKey):
            return key, certificate
    new_key = ec.generate_private_key(ec.SECP256R1())
    name = f"Wattline development authority {now:%Y-%m-%d %H:%M:%S}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = (
        _builder(name, subject, new_key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(new_key, hashes.SHA256())
    )
    write_private(key_file, _key_text(new_key))
    write_atomic(certificate_file, _pem(authority), 0o644)
    return new_key, authority


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
