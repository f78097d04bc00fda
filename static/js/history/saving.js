/** What a chart shows, for taking along: as a table on the page, as CSV, as a picture. */

import { localNumber } from "../wattline/units.js";
import { zoneOffsetMs } from "../wattline/zone.js";
import { period } from "./times.js";

const MOST_ROWS_SHOWN = 1_000;
const PICTURE_SCALE = 2;

/** `2026-11-20T14:05:09.000+01:00`. */
export function isoIn(zone, time) {
  const offset = zoneOffsetMs(zone, time);
  const local = new Date(time + offset).toISOString().slice(0, -1);
  const minutes = Math.round(Math.abs(offset) / 60_000);
  const [hour, minute] = [Math.floor(minutes / 60), minutes % 60];
  const two = (number) => String(number).padStart(2, "0");
  return `${local}${offset < 0 ? "-" : "+"}${two(hour)}:${two(minute)}`;
}

// What a spreadsheet would take for a formula is text; quotes are doubled (RFC 4180).
function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The rows of a card as CSV: times of the facility with their offset, numbers as programs read. */
export function csvOf({ columns, rows }, zone, words) {
  const isPeriods = rows.some(({ begin, end }) => end > begin);
  const times = isPeriods ? [words.from, words.to] : [words.time];
  const lines = [[...times, ...columns].map(cell)];
  for (const { begin, end, values } of rows) {
    const at = isPeriods ? [isoIn(zone, begin), isoIn(zone, end)] : [isoIn(zone, begin)];
    lines.push([...at, ...values.map((value) => (value === null ? "" : String(value)))]);
  }
  return `${lines.map((line) => line.join(",")).join("\r\n")}\r\n`;
}

export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The picture of a canvas with a title above it, on the colour of its card. */
export async function pictureOf(canvas, title, note, look) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const made = document.createElement("canvas");
  const head = 44;
  made.width = width * PICTURE_SCALE;
  made.height = (height + head) * PICTURE_SCALE;
  const context = made.getContext("2d");
  context.scale(PICTURE_SCALE, PICTURE_SCALE);
  context.fillStyle = look.surface;
  context.fillRect(0, 0, width, height + head);
  context.fillStyle = look.text;
  context.font = `600 15px ${look.family}`;
  context.fillText(title, 16, 22);
  context.font = `12px ${look.family}`;
  context.fillText(note, 16, 39);
  context.drawImage(canvas, 0, head, width, height);
  return new Promise((done) => made.toBlob(done, "image/png"));
}

/** Put the rows of a card into its table; the newest are at the end. */
export function fill(table, caption, { columns, rows }, { zone, resolution, words }) {
  const head = document.createElement("tr");
  head.append(...[words.time, ...columns].map((text, i) => header(text, i > 0)));
  const shown = rows.slice(-MOST_ROWS_SHOWN).map(({ begin, end, values }) => {
    const row = document.createElement("tr");
    const time = header(period(zone, begin, end, resolution), false);
    time.scope = "row";
    row.append(time, ...values.map(number));
    return row;
  });
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...shown);
  const left = rows.length - shown.length;
  caption.textContent = left > 0 ? words.more_rows.replace("%s", localNumber(left, 0)) : "";
}

function header(text, right) {
  const element = document.createElement("th");
  element.scope = "col";
  element.textContent = text;
  if (right) element.className = "wl-right";
  return element;
}

function number(value) {
  const element = document.createElement("td");
  element.className = "wl-right wl-number";
  const digits = value === null || Number.isInteger(value) ? 0 : Math.abs(value) < 100 ? 3 : 1;
  element.textContent = value === null ? "–" : localNumber(value, digits);
  if (value !== null) element.dataset.value = String(value);
  return element;
}
