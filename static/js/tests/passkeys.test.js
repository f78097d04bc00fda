import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeOptions, encodeCredential } from "../wattline/passkeys.js";

const bytes = (...values) => Uint8Array.from(values).buffer;

test("options become bytes where the browser wants bytes", () => {
  const decoded = decodeOptions({
    challenge: "_-8",
    rpId: "localhost",
    user: { id: "AQI", name: "a@example.org" },
    excludeCredentials: [{ type: "public-key", id: "_w" }],
    allowCredentials: [],
  });
  assert.deepEqual([...decoded.challenge], [255, 239]);
  assert.deepEqual([...decoded.user.id], [1, 2]);
  assert.equal(decoded.user.name, "a@example.org");
  assert.deepEqual([...decoded.excludeCredentials[0].id], [255]);
  assert.deepEqual(decoded.allowCredentials, []);
  assert.equal(decoded.rpId, "localhost");
});

test("a proof becomes text without padding, with the handle of its user", () => {
  const encoded = encodeCredential({
    id: "_-8",
    rawId: bytes(255, 239),
    type: "public-key",
    authenticatorAttachment: null,
    getClientExtensionResults: () => ({ credProps: { rk: true } }),
    response: {
      clientDataJSON: bytes(123, 125),
      authenticatorData: bytes(1),
      signature: bytes(2, 3),
      userHandle: bytes(49),
    },
  });
  assert.equal(encoded.rawId, "_-8");
  assert.deepEqual(encoded.response, {
    clientDataJSON: "e30",
    authenticatorData: "AQ",
    signature: "AgM",
    userHandle: "MQ",
  });
  assert.deepEqual(encoded.clientExtensionResults, { credProps: { rk: true } });
  assert.deepEqual(JSON.parse(JSON.stringify(encoded)).authenticatorAttachment, undefined);
});

test("a new passkey carries its attestation and how it can be reached", () => {
  const encoded = encodeCredential({
    id: "AQ",
    rawId: bytes(1),
    type: "public-key",
    authenticatorAttachment: "platform",
    getClientExtensionResults: () => ({}),
    response: {
      clientDataJSON: bytes(123, 125),
      attestationObject: bytes(160),
      getTransports: () => ["internal"],
    },
  });
  assert.deepEqual(encoded.response, {
    clientDataJSON: "e30",
    attestationObject: "oA",
    transports: ["internal"],
  });
  assert.equal(encoded.authenticatorAttachment, "platform");
});
