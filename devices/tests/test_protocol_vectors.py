"""The golden vectors, asserted in both directions; JavaScript reads the same files."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.protocol import (
    Capability,
    Command,
    Data,
    LogLine,
    Manifest,
    MessageReader,
    MessageType,
    OfferFlag,
    ProtocolError,
    RawMessage,
    decode_data,
    decode_message,
    encode_data,
    encode_message,
    errors,
    scan_data,
    seal,
    signed_bytes,
)
from devices.protocol.messages import MESSAGE_CLASSES
from devices.tests import make_vectors

FOLDER = Path(__file__).parent / "vectors"
# Fields that hold bytes, which the vectors write in hexadecimal digits; `data` of a CHUNK alone.
BYTES = {"secret", "image", "command_id", "update_id", "manifest", "signature"} | {
    "payload_sha256",
    "base_sha256",
}
ANY_VALUE = dict.fromkeys(range(256), (-(1 << 63), (1 << 63) - 1))


def load(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    return entries


def named(entry: dict[str, Any]) -> str:
    return str(entry["name"])


@pytest.mark.parametrize("vector", load("data"), ids=named)
def test_data_vector_decodes_to_its_values(vector: dict[str, Any]) -> None:
    expected = {"sequence": vector["sequence"], "blocks": vector["blocks"]}
    assert make_vectors.describe_data(bytes.fromhex(vector["hex"])) == expected


@pytest.mark.parametrize("vector", load("data"), ids=named)
def test_data_vector_encodes_to_its_canonical_bytes(vector: dict[str, Any]) -> None:
    data = decode_data(bytes.fromhex(vector["hex"]))
    assert encode_data(data.sequence, data.blocks).hex() == vector["encoded"]


@pytest.mark.parametrize("vector", load("data"), ids=named)
def test_data_vector_scans_without_verdict(vector: dict[str, Any]) -> None:
    scan = scan_data(bytes.fromhex(vector["hex"]), ANY_VALUE)
    times = [time for block in vector["blocks"] for time in block["times"]]
    cells = [cell for block in vector["blocks"] for row in block["values"] for cell in row]
    assert (scan.start_ms, scan.end_ms, scan.samples) == (min(times), max(times), len(times))
    assert scan.values == sum(cell is not None for cell in cells)
    assert scan.channels == sum(1 << c for block in vector["blocks"] for c in block["channels"])
    assert scan.verdict is None


@pytest.mark.parametrize("vector", load("messages"), ids=named)
def test_message_vector_decodes_to_its_fields(vector: dict[str, Any]) -> None:
    assert make_vectors.describe_message(bytes.fromhex(vector["hex"])) == vector["fields"]


@pytest.mark.parametrize(
    "vector",
    # What a later version appends is not written back.
    [vector for vector in load("messages") if "later version" not in vector["name"]],
    ids=named,
)
def test_message_vector_encodes_to_its_bytes(vector: dict[str, Any]) -> None:
    assert encode_message(build(vector["type"], vector["fields"])).hex() == vector["hex"]


def build(message_type: int, fields: Mapping[str, Any]) -> Any:
    if "body" in fields:
        return RawMessage(message_type, bytes.fromhex(fields["body"]))
    if "blocks" in fields:
        return Data(fields["sequence"], make_vectors.blocks_of(fields))
    values = dict(fields)
    for name in BYTES & values.keys():
        values[name] = bytes.fromhex(values[name])
    if message_type == MessageType.CHUNK:
        values["data"] = bytes.fromhex(values["data"])
    if "lines" in values:
        values["lines"] = tuple(LogLine(**line) for line in values["lines"])
    if "capabilities" in values:
        values["capabilities"] = Capability(values["capabilities"])
    if "token" in values:
        values["token"] = int(values["token"])
    if "flags" in values:
        values["flags"] = OfferFlag(values["flags"])
    return MESSAGE_CLASSES[message_type](**values)


@pytest.mark.parametrize("vector", load("errors"), ids=named)
def test_error_vector_raises_its_code(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["hex"])
    with pytest.raises(ProtocolError) as caught:
        read_message(wire)
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize(
    "vector",
    [vector for vector in load("errors") if vector["hex"][2:4] == "10"],
    ids=named,
)
def test_scan_raises_the_same_code_as_decoding(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["hex"])[4:-4]
    with pytest.raises(ProtocolError) as caught:
        scan_data(body, ANY_VALUE)
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", load("manifests"), ids=named)
def test_manifest_vector_reads_and_its_signature_is_good(vector: dict[str, Any]) -> None:
    content = bytes.fromhex(vector["hex"])
    manifest = Manifest.decode(content)
    fields = dataclasses.asdict(manifest)
    fields |= {"hardware": list(fields["hardware"]), "image_sha256": fields["image_sha256"].hex()}
    assert fields == vector["fields"]
    # What a later version appends is signed as well, and not written back.
    appended = b"\x2a" if "later version" in vector["name"] else b""
    assert manifest.encode() + appended == content
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key"]))
    key.verify(bytes.fromhex(vector["signature"]), signed_bytes(content))


def read_message(wire: bytes) -> object:
    reader = MessageReader()
    reader.feed(wire)
    (raw,) = reader
    return decode_message(raw.type, raw.body)


def test_vectors_are_what_the_second_encoder_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_vectors, "FOLDER", tmp_path)
    make_vectors.main()
    for name in ("data", "messages", "errors", "manifests"):
        assert (tmp_path / f"{name}.json").read_text() == (FOLDER / f"{name}.json").read_text()


def test_every_message_class_has_a_vector() -> None:
    covered = {vector["type"] for vector in load("messages")}
    assert set(MESSAGE_CLASSES) <= covered


def test_every_error_code_has_a_vector() -> None:
    codes = {vector["code"] for vector in load("errors")}
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type))
    expected = {kind.code for kind in kinds if issubclass(kind, ProtocolError)}
    assert codes == expected - {ProtocolError.code, "length"}


def test_body_longer_than_allowed_is_refused_before_it_is_complete() -> None:
    reader = MessageReader(max_body=100)
    reader.feed(seal(0x10, bytes(101))[:4])
    with pytest.raises(ProtocolError) as caught:
        list(reader)
    assert caught.value.code == "length"


def test_command_is_equal_to_itself_after_a_round_trip() -> None:
    command = Command(bytes(16), "relay.open", {"relay": 1, "why": "test"}, 5)
    assert read_message(encode_message(command)) == command
