import assert from "node:assert/strict";
import { test } from "node:test";

import { HEAD_BYTES, LIVE, RecordError, parseRecords } from "../wattline/records.js";

function record(body, sequence = 5) {
  const message = new Uint8Array(HEAD_BYTES + body.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, LIVE);
  view.setUint32(4, body.length, true);
  view.setBigInt64(8, 42n, true);
  view.setBigInt64(16, BigInt(sequence), true);
  view.setBigInt64(24, 1_700_000_000_000_500n, true);
  view.setBigInt64(32, 1_700_000_000_001_000n, true);
  message.set(body, HEAD_BYTES);
  return message;
}

test("a message holds several records", () => {
  const both = new Uint8Array([...record([1, 2, 3], 5), ...record([], 6)]);
  const [first, second] = parseRecords(both.buffer);
  assert.deepEqual(
    { ...first, body: [...first.body] },
    {
      kind: LIVE,
      device: 42,
      sequence: 5,
      receivedMs: 1_700_000_000_000.5,
      sentMs: 1_700_000_000_001,
      body: [1, 2, 3],
    },
  );
  assert.equal(second.sequence, 6);
  assert.equal(second.body.length, 0);
});

test("a cut message is refused wherever it is cut", () => {
  const whole = record([1, 2, 3]);
  for (let length = 1; length < whole.length; length += 1) {
    assert.throws(() => parseRecords(whole.slice(0, length).buffer), RecordError);
  }
  assert.deepEqual(parseRecords(new ArrayBuffer(0)), []);
});
