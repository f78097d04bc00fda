/**
 * The device protocol (docs/protocol.md): whole messages, and the readings of DATA as typed arrays.
 *
 * Passes the golden vectors of the Python implementation and names what is malformed by the same
 * codes. Integers are numbers as long as they are safe (below 2^53) and BigInts beyond.
 */

export const VERSION = 1;
const HEAD_BYTES = 4;
const OVERHEAD_BYTES = 8;

// Caps: what one message may cost a receiver (docs/protocol.md, "Caps").
const MAX_BLOCKS = 64;
const MAX_SAMPLES = 3_600;
const MAX_VALUES = 65_536;
const MAX_MASK_BYTES = 32;
const MAX_STEP_MS = 86_400_000;
const MAX_TIME_MS = 2 ** 48;
const MAX_NAME = 64;
const MAX_TEXT = 1_024;
const MAX_ENTRIES = 32;
const MAX_LOG_LINES = 64;
const MAX_LEASE_S = 3_600;
const MAX_SEQUENCE = 2n ** 63n - 1n;
const MAX_GAP = 2n ** 32n;
const MAX_PAYLOAD = 2 ** 32 - 1;
const MAX_CHUNK = 32_768;
const U64_MAX = 2n ** 64n - 1n;

const IRREGULAR = 0x01;
const MASKED = 0x02;
const OFFSET = 0x04;
const MISSING = 0x08;

const PLAIN = 0;
const DELTA = 1;
const DELTA_OF_DELTA = 2;
const CONSTANT = 3;

/** A message that breaks the protocol; `code` is stable and the same as in the Python codec. */
export class ProtocolError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ProtocolError";
    this.code = code;
  }
}

function fail(code, message) {
  throw new ProtocolError(code, message);
}

// --- fields --------------------------------------------------------------------------------------

const isSafe = (value) => value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
const narrowed = (value) => (isSafe(value) ? Number(value) : value);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads the fields of a body one after the other; every method throws a ProtocolError. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  byte() {
    if (this.at >= this.bytes.length) fail("truncated", "the message ends within a field");
    return this.bytes[this.at++];
  }

  raw(size) {
    if (size > this.left) fail("truncated", "the message ends within a field");
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  /** An unsigned number; a BigInt when it is not safe as a number. */
  uvarint() {
    let byte = this.byte();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 0x80;
    // Seven groups stay exact in a double; the rest is rare and done with BigInt.
    for (let group = 1; group < 7; group += 1) {
      byte = this.byte();
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) return byte ? value : fail("varint", "an integer is padded with a zero byte");
    }
    let big = BigInt(value);
    for (let shift = 49n; ; shift += 7n) {
      if (shift > 63n) fail("varint", "an integer is longer than ten bytes");
      byte = this.byte();
      big |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (byte === 0) fail("varint", "an integer is padded with a zero byte");
    if (big > U64_MAX) fail("varint", "an integer exceeds 64 bits");
    return narrowed(big);
  }

  svarint() {
    const value = this.uvarint();
    if (typeof value === "number") return value % 2 ? -(value + 1) / 2 : value / 2;
    return narrowed((value >> 1n) ^ -(value & 1n));
  }

  number(maximum = U64_MAX, minimum = 0) {
    const value = this.uvarint();
    if (value < minimum || value > maximum) {
      fail("range", `${value} is outside ${minimum} … ${maximum}`);
    }
    return value;
  }

  sequence() {
    return this.number(MAX_SEQUENCE, 1);
  }

  count(minimum, maximum) {
    const value = this.uvarint();
    if (value < minimum || value > maximum) {
      fail("count", `${value} entries: there must be ${minimum} … ${maximum}`);
    }
    return value;
  }

  blob(minimum, maximum) {
    const size = this.uvarint();
    if (size < minimum || size > maximum) {
      fail("text", `a field of ${size} bytes: it must have ${minimum} … ${maximum}`);
    }
    return this.raw(size);
  }

  text(minimum, maximum) {
    const bytes = this.blob(minimum, maximum);
    try {
      return utf8.decode(bytes);
    } catch {
      return fail("text", "a string is not UTF-8");
    }
  }

  entries() {
    const entries = {};
    for (let left = this.count(0, MAX_ENTRIES); left > 0; left -= 1) {
      const key = this.text(1, MAX_NAME);
      const kind = this.byte();
      let value;
      if (kind === 0) value = this.svarint();
      else if (kind === 1) value = this.text(0, MAX_TEXT);
      else fail("range", `an entry of kind ${kind}: 0 is an integer, 1 a string`);
      // A key such as __proto__ is an entry like any other.
      Object.defineProperty(entries, key, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return entries;
  }
}

// --- messages ------------------------------------------------------------------------------------

const byte = (read) => read.byte();
const sequence = (read) => read.sequence();
const time = (read) => read.number(MAX_TIME_MS);
const lease = (read) => read.number(MAX_LEASE_S);
const name = (read) => read.text(1, MAX_NAME);
const optionalName = (read) => read.text(0, MAX_NAME);
const longText = (read) => read.text(0, MAX_TEXT);
const commandId = (read) => read.raw(16);
const entries = (read) => read.entries();
const updateId = (read) => read.raw(16);

/** A SHA-256, or no byte when there is none. */
function digestOrNone(read) {
  const digest = read.blob(0, 32);
  if (digest.length !== 0 && digest.length !== 32) {
    fail("text", `a SHA-256 of ${digest.length} bytes: it has 32, or 0 for none`);
  }
  return digest;
}

/** The highest number that a GAP from `first` on may end at. */
function longestGap(first) {
  const last = BigInt(first) + MAX_GAP - 1n;
  return last < MAX_SEQUENCE ? last : MAX_SEQUENCE;
}

function logLines(read) {
  const lines = [];
  for (let left = read.count(1, MAX_LOG_LINES); left > 0; left -= 1) {
    lines.push({ timeMs: time(read), level: read.byte(), text: longText(read) });
  }
  return lines;
}

function maximumVersion(read, { minVersion }) {
  const version = read.byte();
  if (version < minVersion) fail("range", `versions ${minVersion} … ${version} are no range`);
  return version;
}

// Type → the fields of its body in their order; a field may look at those before it.
const MESSAGES = new Map([
  [
    0x01,
    {
      minVersion: byte,
      maxVersion: maximumVersion,
      serial: name,
      secret: (read) => read.blob(16, 64),
      deviceType: name,
      hardware: optionalName,
      firmware: optionalName,
      bootCount: (read) => read.number(),
      clockMs: time,
      nextSequence: sequence,
      oldestSequence: (read, { nextSequence }) => read.number(nextSequence, 1),
      capabilities: (read) => read.number(),
      image: (read) => (read.left === 0 ? new Uint8Array() : digestOrNone(read)),
    },
  ],
  [
    0x02,
    {
      version: byte,
      serverMs: time,
      clockOffsetMs: (read) => read.svarint(),
      resumeFrom: sequence,
      window: (read) => read.number(65_535, 1),
      maxBody: (read) => read.number(65_535, 1),
      pingS: (read) => read.number(MAX_LEASE_S, 1),
      liveLeaseS: lease,
      stepMs: (read) => read.number(MAX_STEP_MS, 1),
      samples: (read) => read.number(MAX_SAMPLES, 1),
    },
  ],
  [
    0x03,
    {
      code: byte,
      retryAfterS: (read) => read.number(604_800),
      sequence: (read) => read.number(MAX_SEQUENCE),
      text: longText,
    },
  ],
  [
    0x04,
    {
      token: (read) => read.number(),
      nextSequence: (read) => read.number(MAX_SEQUENCE),
      oldestSequence: (read, { nextSequence }) => read.number(nextSequence),
    },
  ],
  [0x05, { token: (read) => read.number(), clockMs: time }],
  [0x06, { sequence: (read) => read.number(MAX_SEQUENCE) }],
  [0x07, { sequence }],
  [
    0x11,
    {
      sequence,
      last: (read, fields) => read.number(longestGap(fields.sequence), fields.sequence),
      reason: byte,
    },
  ],
  [0x20, { sequence, lines: logLines }],
  [0x21, { sequence, timeMs: time, kind: name, data: entries }],
  [0x22, { sequence, commandId, timeMs: time, status: byte, detail: longText }],
  [0x30, { commandId, kind: name, expiresMs: time, arguments: entries }],
  [0x31, { leaseS: lease }],
  [
    0x40,
    {
      updateId,
      manifest: (read) => read.blob(1, 2_048),
      signature: (read) => read.raw(64),
      payloadKind: byte,
      payloadSha256: (read) => read.raw(32),
      payloadSize: (read) => read.number(MAX_PAYLOAD, 1),
      baseSha256: digestOrNone,
      rate: (read) => read.number(2 ** 40),
      chunk: (read) => read.number(MAX_CHUNK, 64),
      confirmWithinS: (read) => read.number(604_800, 1),
      flags: (read) => read.number(),
      url: longText,
    },
  ],
  [
    0x41,
    {
      updateId,
      offset: (read) => read.number(MAX_PAYLOAD),
      length: (read) => read.number(MAX_CHUNK, 1),
    },
  ],
  [
    0x42,
    {
      updateId,
      status: byte,
      offset: (read) => read.number(MAX_PAYLOAD),
      retryAfterS: (read) => read.number(604_800),
      data: (read) => read.blob(0, MAX_CHUNK),
    },
  ],
  [0x43, { updateId, text: longText }],
]);
const DATA = 0x10;

const CRC32C = new Uint32Array(256);
for (let index = 0; index < 256; index += 1) {
  let remainder = index;
  for (let bit = 0; bit < 8; bit += 1) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
  }
  CRC32C[index] = remainder;
}

/** CRC-32C (Castagnoli) of the bytes, as an unsigned number. */
export function crc32c(bytes) {
  let remainder = 0xffffffff;
  for (const byte of bytes) remainder = CRC32C[(remainder ^ byte) & 0xff] ^ (remainder >>> 8);
  return (remainder ^ 0xffffffff) >>> 0;
}

/** Type and body of one whole message (Uint8Array); its body is not looked at yet. */
export function parseMessage(bytes) {
  if (bytes.length < OVERHEAD_BYTES) fail("truncated", "the message ends within its head");
  if (bytes[0] !== VERSION) fail("version", `version ${bytes[0]} is not spoken here`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const checksumAt = HEAD_BYTES + view.getUint16(2, true);
  if (checksumAt + 4 > bytes.length) fail("truncated", "the message ends within its body");
  if (checksumAt + 4 < bytes.length) fail("trailing", "bytes follow the checksum");
  if (crc32c(bytes.subarray(0, checksumAt)) !== view.getUint32(checksumAt, true)) {
    fail("checksum", "the checksum of the message is off");
  }
  return { type: bytes[1], body: bytes.subarray(HEAD_BYTES, checksumAt) };
}

/** The fields of a message: those of DATA as `decodeData`, `{body}` for a reserved one of firmware. */
export function decodeMessage(type, body) {
  if (type === DATA) return decodeData(body);
  const layout = MESSAGES.get(type);
  if (layout) {
    const read = new Reader(body);
    const fields = {};
    for (const [field, take] of Object.entries(layout)) fields[field] = take(read, fields);
    return fields;
  }
  if (type >> 4 === 0x4) return { body };
  return fail("type", `message type ${type} is not defined`);
}

// --- readings ------------------------------------------------------------------------------------

/**
 * The readings of a DATA body (Uint8Array).
 *
 * `{sequence, blocks: [{times, channels, values, present}]}`: `times` a Float64Array of ms since
 * the Unix epoch; `channels` the channel numbers; `values` one typed array a channel, a
 * Float64Array when all its values are safe integers and a BigInt64Array otherwise, 0 where
 * missing; `present` null, or for each channel null (nothing missing) or a Uint8Array of 0 and 1.
 */
export function decodeData(body) {
  const read = new Reader(body);
  const sequenceNumber = read.sequence();
  const startMs = read.uvarint();
  if (startMs > MAX_TIME_MS) fail("time", "the start is beyond the year 10889");
  const count = read.count(1, MAX_BLOCKS);
  const blocks = [];
  const named = new Set();
  let valuesLeft = MAX_VALUES;
  for (let index = 0; index < count; index += 1) {
    const block = readBlock(read, startMs, valuesLeft);
    if (block.channels.some((channel) => named.has(channel))) {
      fail("channel", "a channel is in two blocks of one message");
    }
    for (const channel of block.channels) named.add(channel);
    valuesLeft -= block.times.length * block.channels.length;
    blocks.push(block);
  }
  if (read.left) fail("trailing", `${read.left} bytes follow the last block`);
  return { sequence: sequenceNumber, blocks };
}

function readBlock(read, messageStartMs, valuesLeft) {
  const flags = read.byte();
  if (flags & ~(IRREGULAR | MASKED | OFFSET | MISSING)) fail("flags", "undefined flags of a block");
  let startMs = messageStartMs;
  if (flags & OFFSET) {
    const offset = read.uvarint();
    if (offset > MAX_TIME_MS - startMs) fail("time", "a block starts beyond the year 10889");
    startMs += offset;
  }
  const n = read.count(1, MAX_SAMPLES);
  if (n === 1 && flags & (IRREGULAR | MISSING)) {
    fail("flags", "a block of one sample is neither irregular nor has missing samples");
  }
  const times = n === 1 ? Float64Array.of(startMs) : readTimes(read, startMs, n, flags);
  const channels = readChannels(read, flags);
  if (n * channels.length > valuesLeft) fail("count", `more than ${MAX_VALUES} values`);
  const values = [];
  const present = flags & MISSING ? [] : null;
  for (let index = 0; index < channels.length; index += 1) {
    if (present) {
      const column = readSparseColumn(read, n);
      values.push(column.values);
      present.push(column.present);
    } else {
      values.push(n === 1 ? typed([read.svarint()]) : readColumn(read, n));
    }
  }
  return { times, channels, values, present: present?.some(Boolean) ? present : null };
}

function readTimes(read, startMs, n, flags) {
  const stepMs = read.number(MAX_STEP_MS, 1);
  const times = new Float64Array(n);
  if (flags & IRREGULAR) {
    const axis = readColumn(read, n);
    // Beyond safe integers a time is negative or far beyond the year 10889.
    if (axis instanceof BigInt64Array) fail("time", "an irregular time axis leaves its range");
    if (axis[0] !== 0) fail("time", "an irregular time axis begins at 0");
    for (let index = 0; index < n; index += 1) {
      if (index && axis[index] < axis[index - 1]) {
        fail("time", "an irregular time axis runs backwards");
      }
      times[index] = startMs + axis[index] * stepMs;
    }
  } else {
    for (let index = 0; index < n; index += 1) times[index] = startMs + index * stepMs;
  }
  if (times[n - 1] > MAX_TIME_MS) fail("time", "a time axis goes beyond the year 10889");
  return times;
}

function readChannels(read, flags) {
  const count = read.byte();
  if (!(flags & MASKED)) {
    if (count === 0) fail("channel", "a block names no channel");
    return Array.from({ length: count }, (_, channel) => channel);
  }
  if (count < 1 || count > MAX_MASK_BYTES) fail("channel", `a channel mask of ${count} bytes`);
  const mask = read.raw(count);
  const channels = [];
  for (let channel = 0; channel < count * 8; channel += 1) {
    if ((mask[channel >> 3] >> (channel & 7)) & 1) channels.push(channel);
  }
  if (!channels.length) fail("channel", "a block names no channel");
  return channels;
}

function readSparseColumn(read, n) {
  const mark = read.byte();
  if (mark === 0) return { values: readColumn(read, n), present: null };
  if (mark !== 1) fail("presence", `the mark of missing samples is ${mark}, not 0 or 1`);
  const bitmap = read.raw((n + 7) >> 3);
  const present = new Uint8Array(n);
  let count = 0;
  for (let index = 0; index < bitmap.length * 8; index += 1) {
    if (!((bitmap[index >> 3] >> (index & 7)) & 1)) continue;
    if (index >= n) fail("presence", "a bitmap of missing samples goes beyond the last sample");
    present[index] = 1;
    count += 1;
  }
  let dense = new Float64Array(0);
  if (count === 1) dense = typed([read.svarint()]);
  else if (count > 1) dense = readColumn(read, count);
  const values = new dense.constructor(n);
  for (let index = 0, next = 0; index < n; index += 1) {
    if (present[index]) values[index] = dense[next++];
  }
  return { values, present: count === n ? null : present };
}

/** Integers, numbers or BigInts, as the narrowest array that holds them exactly. */
function typed(integers) {
  if (integers.every(isSafe)) return Float64Array.from(integers, Number);
  return BigInt64Array.from(integers, BigInt);
}

/** A column of `n` ≥ 2 values. */
function readColumn(read, n) {
  const descriptor = read.byte();
  const predictor = descriptor >> 6;
  const k = descriptor & 0x3f;
  const first = read.svarint();
  if (predictor === CONSTANT) {
    if (k) fail("column", `a constant column has k = ${k}, not 0`);
    return typed(new Array(n).fill(first));
  }
  const residuals = n - predictor;
  if (residuals === 0) fail("column", "second differences need at least three values");
  const second = predictor === DELTA_OF_DELTA ? read.svarint() : 0;
  const tail = read.uvarint();
  if (tail > 2 * read.left + 1) fail("truncated", "the message ends within a column");
  const low = read.raw((k * residuals + 7) >> 3);
  const quotients = readQuotients(read.raw(Math.floor(tail / 2)), residuals);
  if (tail % 2) addPatches(read, quotients);
  return isSmall(quotients, predictor, k, first, second, n)
    ? smallColumn(quotients, low, predictor, k, first, second, n)
    : wideColumn(quotients, low, predictor, k, first, second);
}

function readQuotients(unary, residuals) {
  const quotients = new Array(residuals).fill(0);
  let found = 0;
  let zeros = 0;
  for (let rest of unary) {
    let skipped = 0;
    while (rest) {
      if (found === residuals) fail("unary", `more than ${residuals} quotients`);
      const run = 31 - Math.clz32(rest & -rest);
      quotients[found++] = zeros + run;
      zeros = 0;
      rest >>>= run + 1;
      skipped += run + 1;
    }
    zeros += 8 - skipped;
  }
  if (found !== residuals) fail("unary", `${found} quotients for ${residuals} residuals`);
  if (zeros >= 8) fail("unary", "the unary part of a column is padded with a zero byte");
  return quotients;
}

function addPatches(read, quotients) {
  const count = read.uvarint();
  if (count < 1 || count > quotients.length) {
    fail("patch", `${count} patches for ${quotients.length} residuals`);
  }
  let index = -1;
  for (let left = count; left > 0; left -= 1) {
    const skipped = read.uvarint();
    if (skipped >= quotients.length - index - 1) {
      fail("patch", `a patch beyond the last of ${quotients.length} residuals`);
    }
    index += skipped + 1;
    const excess = read.uvarint();
    const sum = BigInt(quotients[index]) + BigInt(excess);
    quotients[index] = narrowed(sum);
  }
}

/** Whether every number on the way to the values is certainly a safe integer. */
function isSmall(quotients, predictor, k, first, second, n) {
  if (typeof first !== "number" || typeof second !== "number") return false;
  let reach = 0;
  for (const quotient of quotients) reach += (Number(quotient) + 1) * 2 ** k;
  if (predictor === DELTA_OF_DELTA) reach = (Math.abs(second) + reach) * n;
  return reach + Math.abs(first) < 2 ** 52;
}

function smallColumn(quotients, low, predictor, k, first, second, n) {
  const values = new Float64Array(n);
  const step = 2 ** k;
  let value = first;
  let difference = second;
  let next = 0;
  if (predictor !== PLAIN) values[next++] = value;
  if (predictor === DELTA_OF_DELTA) values[next++] = value += difference;
  for (let index = 0; index < quotients.length; index += 1) {
    const residual = quotients[index] * step + bitField(low, index * k, k);
    if (predictor === PLAIN) {
      values[next++] = first + residual;
      continue;
    }
    const change = residual % 2 ? -(residual + 1) / 2 : residual / 2;
    difference = predictor === DELTA ? change : difference + change;
    values[next++] = value += difference;
  }
  return values;
}

/** The `k` ≤ 52 bits from bit `at` on, least significant first. */
function bitField(bytes, at, k) {
  let index = at >> 3;
  let shift = at & 7;
  let value = 0;
  let scale = 1;
  for (let left = k; left > 0; ) {
    const take = Math.min(8 - shift, left);
    value += ((bytes[index++] >> shift) & ((1 << take) - 1)) * scale;
    scale *= 1 << take;
    left -= take;
    shift = 0;
  }
  return value;
}

/** As `smallColumn`, in integers modulo 2^64. */
function wideColumn(quotients, low, predictor, k, first, second) {
  const values = [];
  const bits = BigInt(k);
  let value = BigInt(first);
  let difference = BigInt(second);
  const push = () => values.push((value = BigInt.asIntN(64, value)));
  if (predictor !== PLAIN) push();
  if (predictor === DELTA_OF_DELTA) {
    value += difference;
    push();
  }
  for (let index = 0; index < quotients.length; index += 1) {
    const head = Math.min(k, 32);
    const field =
      BigInt(bitField(low, index * k, head)) |
      (BigInt(bitField(low, index * k + head, k - head)) << 32n);
    const residual = BigInt.asUintN(64, (BigInt(quotients[index]) << bits) | field);
    if (predictor === PLAIN) {
      value = BigInt(first) + residual;
    } else {
      const change = (residual >> 1n) ^ -(residual & 1n);
      difference = predictor === DELTA ? change : difference + change;
      value += difference;
    }
    push();
  }
  return typed(values);
}
