/**
 * The inner loop of xml.ts in AssemblyScript: packets of rows, of the text or of the binary protocol, to row XML. Sixteen bytes are
 * copied at a time, which JavaScript cannot do: a quarter of its time. `npm run wasm` compiles this into xml-rows-wasm.ts; a test fails
 * when that was forgotten. All addresses are in the memory that xml.ts lays out. Copies read and write up to 15 bytes too far, so
 * regions have that much behind them.
 */
import { date, dateTime, signed, unsigned } from './xml-print';
import { copy, cut, entityOf, escaped, hex } from './xml-write';

/** Why `take` came back. */
const MORE: i32 = 0; // the rest is part of a packet
const FULL: i32 = 1; // of rows, or of bytes
const OTHER: i32 = 2; // the packet here is no row: the end, an error, or the first part of one above 16 MB
const ROOM: i32 = 3; // the row here needs `needed` bytes of output

/** Bytes of a column's entry: kind, most characters, place of its cells, address and length of the text in front of it. */
const COLUMN: usize = 20;
/** Kinds: text with its length, which may stand as it is, must be escaped, or is raw bytes; then what the binary protocol alone has. */
const PLAIN: u32 = 0;
const ESCAPED: u32 = 1;
const HEX: u32 = 2;
/** Integers of 1, 2, 4 and 8 bytes, each with sign and without. */
const INTEGER: u32 = 3;
const DATE: u32 = 11;
/** And so many digits of a second's fraction. */
const DATE_TIME: u32 = 12;
const NULL: u32 = 0xfb;
/** Bytes of a kept cell: where it begins and ends, and room for what is printed here. */
const CELL: usize = 40;
/** The longest thing that is printed here is a time with six digits of a fraction. */
const PRINTED: usize = 26;
/** The longest entity is six times its character. */
const GROWTH: usize = 6;
/** Longer rows are measured before they are written, instead of taken for the longest they can be. */
const MEASURED: usize = 0x10000;

let columns: i32 = 0;
let table: usize = 0;
let tagBytes: usize = 0;
let cells: usize = 0;
let wanted: usize = 0;
let ends: usize = 0;
let mostRows: i32 = 0;
let binary: bool = false;
let out: usize = 0;
let outEnd: usize = 0;
let fullBytes: usize = 0;

export let rows: i32 = 0;
export let bytes: usize = 0;
export let needed: usize = 0;
export let why: i32 = MORE;

/**
 * @param columnTable has one entry more, for the text behind a row. @param tags bytes of a row besides its values
 * @param cellCount cells kept of each row
 */
export function layOut(
  columnCount: i32,
  columnTable: usize,
  tags: usize,
  cellTable: usize,
  cellCount: usize,
  endTable: usize,
  rowLimit: i32,
  isBinary: bool,
): void {
  columns = columnCount;
  table = columnTable;
  tagBytes = tags + (isBinary ? <usize>columnCount * PRINTED : 0);
  cells = cellTable;
  wanted = cellCount;
  ends = endTable;
  mostRows = rowLimit;
  binary = isBinary;
}

/** Begins a batch. @param limit bytes after which it is full */
export function begin(from: usize, to: usize, limit: usize): void {
  out = from;
  outEnd = to;
  fullBytes = limit;
  rows = 0;
  bytes = 0;
}

/** Whole packets with their headers. @returns address of the first byte that was not taken; `why` says why not */
export function take(from: usize, to: usize): usize {
  let at = from;
  while (to - at >= 5) {
    const length: usize = load<u32>(at) & 0xffffff;
    const next = at + 4 + length;
    if (length == 0xffffff || (length > 0 && load<u8>(at + 4) >= 0xfe)) {
      why = OTHER;
      return at;
    }
    if (next > to) break;
    if (!row(at + 4, next)) {
      why = ROOM;
      return at;
    }
    at = next;
    if (rows >= mostRows || bytes >= fullBytes) {
      why = FULL;
      return at;
    }
  }
  why = MORE;
  return at;
}

/** One packet without header. Traps when it is malformed. @returns false when there is not enough room, and then nothing was done */
export function row(from: usize, to: usize): bool {
  const most = (to - from) * GROWTH + tagBytes;
  needed = to - from > MEASURED && most > outEnd - out - bytes ? measure(from) : most;
  if (needed > outEnd - out - bytes) return false;
  const at = binary ? binaryRow(from, to) : textRow(from, to);
  bytes = at - out;
  store<u32>(ends + ((<usize>rows) << 2), <u32>bytes);
  rows++;
  return true;
}

function textRow(from: usize, to: usize): usize {
  let at = out + bytes;
  let pos = from;
  let entry = table;
  for (let i = 0; i < columns; i++, entry += COLUMN) {
    at = text(entry, at);
    if (load<u8>(pos) == NULL) {
      pos++;
      keep(entry, 0, 0);
      continue;
    }
    pos = start(pos);
    const behind = pos + size;
    at = value(entry, pos, to, at);
    pos = behind;
  }
  return text(entry, at);
}

/** Behind a zero a bit for each column that is NULL, from the third bit on, then the others. */
function binaryRow(from: usize, to: usize): usize {
  let at = out + bytes;
  let pos = firstValue(from);
  let entry = table;
  for (let i = 0; i < columns; i++, entry += COLUMN) {
    at = text(entry, at);
    if (isNull(from, i)) {
      keep(entry, 0, 0);
      continue;
    }
    const kind = load<u32>(entry);
    if (kind <= HEX) {
      pos = start(pos);
      const behind = pos + size;
      at = value(entry, pos, to, at);
      pos = behind;
    } else {
      const behind = end(kind, pos);
      if (behind > to) unreachable();
      at = printed(entry, pos, at);
      pos = behind;
    }
  }
  return text(entry, at);
}

function firstValue(from: usize): usize {
  return from + 1 + ((<usize>columns + 9) >> 3);
}

/* @inline */ function isNull(from: usize, column: i32): bool {
  const bit = column + 2;
  return ((load<u8>(from + 1 + <usize>(bit >> 3)) >> (<u8>(bit & 7))) & 1) != 0;
}

/** Where an integer or a time ends. */
/* @inline */ function end(kind: u32, pos: usize): usize {
  return kind < DATE ? pos + ((<usize>1) << ((kind - INTEGER) >> 1)) : pos + 1 + load<u8>(pos);
}

/* @inline */ function printed(entry: usize, pos: usize, to: usize): usize {
  const kind = load<u32>(entry);
  const limit: usize = load<u32>(entry, 4);
  const place = load<u32>(entry, 8);
  if (place == 0) return to + min(print(kind, pos, to) - to, limit);
  const from = cellOf(place) + 8;
  const length = print(kind, pos, from) - from;
  keep(entry, from, from + length);
  copy(from, to, length);
  return to + min(length, limit);
}

/* @inline */ function print(kind: u32, pos: usize, to: usize): usize {
  switch (kind - INTEGER) {
    case 0:
      return signed(load<i8>(pos), to);
    case 1:
      return unsigned(load<u8>(pos), to);
    case 2:
      return signed(load<i16>(pos), to);
    case 3:
      return unsigned(load<u16>(pos), to);
    case 4:
      return signed(load<i32>(pos), to);
    case 5:
      return unsigned(load<u32>(pos), to);
    case 6:
      return signed(load<i64>(pos), to);
    case 7:
      return unsigned(load<u64>(pos), to);
    case 8:
      return date(pos + 1, load<u8>(pos), to);
    default:
      return dateTime(pos + 1, load<u8>(pos), to, kind - DATE_TIME);
  }
}

/** A value that has its length with it: `size`. */
/* @inline */ function value(entry: usize, pos: usize, to: usize, at: usize): usize {
  const length = size;
  // No server sends that.
  if (pos + length > to) unreachable();
  keep(entry, pos, pos + length);
  const kind = load<u32>(entry);
  const limit: usize = load<u32>(entry, 4);
  if (kind == PLAIN) return copy(pos, at, length > limit ? cut(pos, length, limit) : length);
  if (kind == ESCAPED) return escaped(pos, at, length > limit ? cut(pos, length, limit) : length);
  return hex(pos, at, length * 2 > limit ? limit : length * 2);
}

/** Length of the value that `start` found. */
let size: usize = 0;

/** Reads a length. @returns where the value begins */
/* @inline */ function start(pos: usize): usize {
  const first = load<u8>(pos);
  if (first < NULL) {
    size = first;
    return pos + 1;
  }
  if (first == 0xfc) {
    size = load<u16>(pos + 1);
    return pos + 3;
  }
  size = load<u32>(pos + 1);
  if (first == 0xfe) return pos + 9;
  size &= 0xffffff;
  return pos + 4;
}

function cellOf(place: u32): usize {
  return cells + (<usize>rows * wanted + place - 1) * CELL;
}

/** Where the cell of this row is, if it is wanted; 0: NULL. */
/* @inline */ function keep(entry: usize, from: usize, to: usize): void {
  const place = load<u32>(entry, 8);
  if (place == 0) return;
  const at = cellOf(place);
  store<u32>(at, <u32>from);
  store<u32>(at, <u32>to, 4);
}

/* @inline */ function text(entry: usize, at: usize): usize {
  return copy(load<u32>(entry, 12), at, load<u32>(entry, 16));
}

/** The bytes that a row may come to, by the characters that are in it. */
function measure(from: usize): usize {
  let sum = tagBytes;
  let pos = binary ? firstValue(from) : from;
  let entry = table;
  for (let i = 0; i < columns; i++, entry += COLUMN) {
    if (binary ? isNull(from, i) : load<u8>(pos) == NULL) {
      if (!binary) pos++;
      continue;
    }
    const kind = load<u32>(entry);
    if (kind > HEX) {
      pos = end(kind, pos);
      continue;
    }
    pos = start(pos);
    const length = size;
    sum += kind > ESCAPED ? length * 2 : length;
    if (kind == ESCAPED) {
      for (let n: usize = 0; n < length; n++) {
        const entity = entityOf(load<u8>(pos + n));
        if (entity != 0) sum += <usize>(7 - (clz(entity) >> 3));
      }
    }
    pos += length;
  }
  return sum;
}
