/**
 * The binary messages of /ws/live/: one or more records, each a head of 40 bytes and a body.
 *
 * Little-endian: kind u8 | 3 bytes reserved | body length u32 | device i64 | sequence i64 |
 * received µs i64 | sent µs i64. `received` is when the bridge took the message, `sent` when the
 * web process handed it to the socket, both µs since the Unix epoch by the servers' clocks.
 */

/** Kinds of record. */
export const LIVE = 1; // a DATA frame that has just arrived at the bridge
export const BACKFILL = 2; // a DATA frame from storage, before anything live
export const FILL = 3; // a DATA frame from storage, asked for
// The bridge's own event about a connection of the device, JSON; the number of the connection,
// which grows with time, stands in the place of the sequence.
export const LINK = 4;

export const HEAD_BYTES = 40;

/** A binary message that does not hold whole records. */
export class RecordError extends Error {}

/**
 * The records of a binary message, in order.
 *
 * Device and sequence are exact up to 2^53; a device that sends every millisecond reaches that
 * after 285 000 years. The number of a connection is exact to the millisecond.
 *
 * @param {ArrayBuffer} message
 * @returns {{kind: number, device: number, sequence: number, receivedMs: number, sentMs: number,
 *   body: Uint8Array}[]}
 */
export function parseRecords(message) {
  const view = new DataView(message);
  const records = [];
  let at = 0;
  while (at < message.byteLength) {
    if (message.byteLength - at < HEAD_BYTES) throw new RecordError("a record's head is cut");
    const length = view.getUint32(at + 4, true);
    const start = at + HEAD_BYTES;
    if (length > message.byteLength - start) throw new RecordError("a record's body is cut");
    records.push({
      kind: view.getUint8(at),
      device: Number(view.getBigInt64(at + 8, true)),
      sequence: Number(view.getBigInt64(at + 16, true)),
      receivedMs: Number(view.getBigInt64(at + 24, true)) / 1000,
      sentMs: Number(view.getBigInt64(at + 32, true)) / 1000,
      body: new Uint8Array(message, start, length),
    });
    at = start + length;
  }
  return records;
}
