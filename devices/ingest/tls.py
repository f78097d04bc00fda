"""TLS of the bridge: one context for all connections, whose certificate can be changed under way.

TLS 1.3 alone unless 1.2 is asked for: old modems speak no 1.3. Sessions resume by tickets (RFC 8446
section 4.6.1); a context has its own ticket key, so a device resumes at the bridge process that it
spoke to last and does a full handshake at another.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

# With TLS 1.2 only suites with forward secrecy and authenticated encryption.
_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateError(Exception):
    """Certificate, key or client CA cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Files in PEM form. `client_ca` makes client certificates possible; a device whose record has
    a fingerprint must show that certificate, for others it stays optional."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    allow_tls12: bool = False


def make_context(options: TlsOptions) -> ssl.SSLContext:
    """The server's context; CertificateError when a file is missing or does not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_2 if options.allow_tls12 else ssl.TLSVersion.TLSv1_3
    )
    context.set_ciphers(_TLS12_CIPHERS)
    # Renegotiation (TLS 1.2) lets a peer burn our CPU; compression leaks lengths (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # A device keeps the last ticket alone; the second that OpenSSL sends by default is 250 bytes
    # of a thin link each time.
    context.num_tickets = 1
    load_certificate(context, options)
    if options.client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(options.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(
                f"the client CA {options.client_ca} cannot be read ({error}): "
                "give a readable file with PEM certificates"
            ) from error
    return context


def load_certificate(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Load certificate and key into the context, at the start and when they were renewed.

    New connections get the new certificate, running ones go on. CertificateError leaves the
    context as it was.
    """
    try:
        # Tried on a context of its own: a certificate without its key must not replace a good one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key)
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(
            f"certificate {options.certificate} and key {options.key} cannot be used ({error}): "
            "give a readable PEM certificate chain and the private key that belongs to it"
        ) from error


def fingerprint(ssl_object: ssl.SSLObject | None) -> bytes | None:
    """SHA-256 of the certificate that the peer showed, None when it showed none."""
    if ssl_object is None:
        return None
    certificate = ssl_object.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).digest() if certificate else None
