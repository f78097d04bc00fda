"""`manage.py sign_firmware`: signs an image where the private key is, without any installation."""

from __future__ import annotations

import os
from getpass import getpass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.protocol.manifest import Manifest
from devices.versions import Version, VersionError
from firmware.artifacts import inspection, signing
from firmware.artifacts.errors import ArtifactError

# What the protocol can tell of a payload's size.
_MOST_BYTES: Final = (1 << 32) - 1
_PASSWORD: Final = "WATTLINE_KEY_PASSWORD"  # noqa: S105 - a name


class Command(BaseCommand):
    """Needs no database, no settings and no network: the key may stay on a machine without any."""

    help = (
        "Sign a firmware image: writes IMAGE.sig.json, which is uploaded with the image. With"
        " --new-key, make a key instead: the private one stays where releases are signed, the"
        " public one is uploaded. The password of a key, if it has one, is asked for or taken from"
        f" {_PASSWORD}."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", type=Path, nargs="?", metavar="IMAGE")
        parser.add_argument("--key", type=Path, metavar="FILE", help="PEM, or the bare 32 bytes")
        parser.add_argument("--type", metavar="CODE", help="code of the device type")
        parser.add_argument("--firmware-version", metavar="VERSION", help="such as 1.4.0")
        parser.add_argument(
            "--hardware",
            action="append",
            default=[],
            metavar="REVISION",
            help="a hardware revision that the image is for, once for each; without any: all",
        )
        parser.add_argument("--out", type=Path, metavar="FILE", help="instead of IMAGE.sig.json")
        parser.add_argument(
            "--new-key",
            type=Path,
            metavar="FILE",
            help="make FILE (private, PEM) and FILE.public.pem; neither may exist",
        )
        parser.add_argument(
            "--password", action="store_true", help="with --new-key: protect it with a password"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["new_key"]:
                self._make_key(options["new_key"], protect=options["password"])
            else:
                self._sign(options)
        except ArtifactError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error

    def _make_key(self, path: Path, *, protect: bool) -> None:
        public = path.with_name(path.name + ".public.pem")
        for one in (path, public):
            if one.exists():
                raise CommandError(f"{one} exists, and a key is never overwritten: name another.")
        password = _password(path) if protect else b""
        if protect and not password:
            raise CommandError("An empty password protects nothing.")
        key = Ed25519PrivateKey.generate()
        protection = (
            serialization.BestAvailableEncryption(password)
            if protect
            else serialization.NoEncryption()
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        name = signing.key_id(key.public_key().public_bytes_raw())
        self.stdout.write(f"{path}: the private key {name}. It never goes to the server.")
        self.stdout.write(f"{public}: its public key, to be uploaded under “Signing keys”.")

    def _sign(self, options: dict[str, Any]) -> None:
        missing = [
            f"--{name.replace('_', '-')}"
            for name in ("key", "type", "firmware_version")
            if not options[name]
        ]
        if options["image"] is None or missing:
            missing = ([] if options["image"] else ["IMAGE"]) + missing
            raise CommandError(f"Say what to sign: {', '.join(missing)} missing.")
        image: Path = options["image"]
        found = _inspected(image, options["firmware_version"])
        manifest = Manifest(
            device_type=options["type"],
            hardware=tuple(dict.fromkeys(options["hardware"])),
            version=options["firmware_version"],
            image_sha256=bytes.fromhex(found.sha256),
            image_size=found.size,
        )
        signed = signing.SignatureFile.make(_key(options["key"]), manifest)
        out: Path = options["out"] or image.with_name(image.name + ".sig.json")
        out.write_text(signed.dump(), encoding="utf-8")
        self.stdout.write(
            f"{out}: {found.format} image of {found.size} bytes, version {manifest.version} for"
            f" {manifest.device_type}"
            + (f" ({', '.join(manifest.hardware)})" if manifest.hardware else "")
            + f", signed with key {signed.key_id}."
        )


def _inspected(image: Path, version: str) -> inspection.Inspected:
    """The image, whose own header must not say another version."""
    try:
        wanted = Version.parse(version)
    except VersionError as error:
        raise CommandError(str(error)) from error
    with image.open("rb") as file:
        found = inspection.inspect(file, most=_MOST_BYTES)
    inspection.require_version(found, wanted)
    return found


def _key(path: Path) -> Ed25519PrivateKey:
    data = path.read_bytes()
    protected = b"ENCRYPTED" in data.split(b"\n", 1)[0]
    return signing.private_key_of(data, _password(path) if protected else None)


def _password(path: Path) -> bytes:
    return (os.environ.get(_PASSWORD) or getpass(f"Password of {path}: ")).encode()
