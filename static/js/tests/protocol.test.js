import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ProtocolError, crc32c, decodeData, decodeMessage, parseMessage } from "../wattline/protocol.js";

const vectors = (name) =>
  JSON.parse(
    readFileSync(new URL(`../../../devices/tests/vectors/${name}.json`, import.meta.url), "utf8"),
  );
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (array) => Array.from(array, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The form of the vectors: snake case, unsafe integers as strings, bytes as hex. */
function plain(value) {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      plain(item),
    ]),
  );
}

function plainData({ sequence, blocks }) {
  return {
    sequence: plain(sequence),
    blocks: blocks.map(({ times, channels, values, present }) => ({
      times: Array.from(times),
      channels,
      values: values.map((column, row) =>
        Array.from(column, (value, index) => {
          if (present?.[row]?.[index] === 0) return null;
          const number = typeof value === "bigint" && Number.isSafeInteger(Number(value));
          return number ? Number(value) : plain(value);
        }),
      ),
    })),
  };
}

for (const vector of vectors("data")) {
  test(`data: ${vector.name}`, () => {
    const { sequence, blocks } = vector;
    assert.deepEqual(plainData(decodeData(bytes(vector.hex))), { sequence, blocks });
    assert.deepEqual(plainData(decodeData(bytes(vector.encoded))), { sequence, blocks });
  });
}

for (const vector of vectors("messages")) {
  test(`message: ${vector.name}`, () => {
    const { type, body } = parseMessage(bytes(vector.hex));
    assert.equal(type, vector.type);
    const message = decodeMessage(type, body);
    assert.deepEqual("blocks" in message ? plainData(message) : plain(message), vector.fields);
  });
}

for (const vector of vectors("errors")) {
  test(`error: ${vector.name}`, () => {
    assert.throws(
      () => {
        const { type, body } = parseMessage(bytes(vector.hex));
        decodeMessage(type, body);
      },
      (error) => error instanceof ProtocolError && error.code === vector.code,
    );
  });
}

test("the checksum is CRC-32C", () => {
  // The check value of the catalogue of CRC algorithms.
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
});

test("a message must come whole and alone", () => {
  const message = bytes(vectors("messages").find(({ name }) => name === "ack").hex);
  for (let size = 0; size < message.length; size += 1) {
    assert.throws(() => parseMessage(message.subarray(0, size)), { code: "truncated" });
  }
  assert.throws(() => parseMessage(Uint8Array.of(...message, 0)), { code: "trailing" });
});

test("columns are number arrays as long as they are exact", () => {
  const find = (name) => bytes(vectors("data").find((vector) => vector.name === name).hex);
  const [volts] = decodeData(find("delta, k = 2")).blocks[0].values;
  assert.ok(volts instanceof Float64Array);
  const [wide] = decodeData(find("delta, k = 63, wrapping")).blocks[0].values;
  assert.ok(wide instanceof BigInt64Array);
});

test("random bytes throw nothing but protocol errors", () => {
  let seed = 42;
  const random = (below) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 16) % below;
  };
  const bodies = vectors("data").map((vector) => bytes(vector.hex));
  let sound = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const body = Uint8Array.from(bodies[random(bodies.length)]);
    for (let changes = 1 + random(3); changes > 0; changes -= 1) {
      body[random(body.length)] = random(256);
    }
    try {
      decodeData(body.subarray(0, random(4) ? body.length : random(body.length)));
      sound += 1;
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error.stack));
    }
  }
  assert.ok(sound > 0);
});
