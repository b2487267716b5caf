/**
 * The inner loop of xml.ts in AssemblyScript: packets of rows, as the text protocol has them, to row XML. Sixteen bytes are copied at a
 * time, which JavaScript cannot do: a quarter of its time. `npm run wasm` compiles this into xml-rows-wasm.ts; a test fails when
 * that was forgotten. All addresses are in the memory that xml.ts lays out. Copies read and write up to 15 bytes too far, so regions
 * have that much behind them.
 */

/** Why `take` came back. */
const MORE: i32 = 0; // the rest is part of a packet
const FULL: i32 = 1; // of rows, or of bytes
const OTHER: i32 = 2; // the packet here is no row: the end, an error, or the first part of one above 16 MB
const ROOM: i32 = 3; // the row here needs `needed` bytes of output

/** Bytes of a column's entry: kind, most characters, place of its cells, address and length of the text in front of it. */
const COLUMN: usize = 20;
const PLAIN: u32 = 0;
const ESCAPED: u32 = 1;
const NULL: u32 = 0xfb;
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
let out: usize = 0;
let outEnd: usize = 0;
let fullBytes: usize = 0;

export let rows: i32 = 0;
export let bytes: usize = 0;
export let needed: usize = 0;
export let why: i32 = MORE;

/** @param last address of one more entry, for the text behind a row. @param cellCount cells kept of each row, as pairs of addresses */
export function layOut(
  columnCount: i32,
  columnTable: usize,
  tags: usize,
  cellTable: usize,
  cellCount: usize,
  endTable: usize,
  rowLimit: i32,
): void {
  columns = columnCount;
  table = columnTable;
  tagBytes = tags;
  cells = cellTable;
  wanted = cellCount;
  ends = endTable;
  mostRows = rowLimit;
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
  let at = out + bytes;
  let pos = from;
  let entry = table;
  for (let i = 0; i < columns; i++, entry += COLUMN) {
    at = text(entry, at);
    const first = load<u8>(pos);
    const place = load<u32>(entry, 8);
    if (first == NULL) {
      pos++;
      if (place != 0) keep(place, 0, 0);
      continue;
    }
    pos = start(pos);
    const length = size;
    // No server sends that.
    if (pos + length > to) unreachable();
    if (place != 0) keep(place, pos, pos + length);
    const kind = load<u32>(entry);
    const limit: usize = load<u32>(entry, 4);
    if (kind == PLAIN) {
      at = copy(pos, at, length > limit ? cut(pos, length, limit) : length);
    } else if (kind == ESCAPED) {
      at = escaped(pos, at, length > limit ? cut(pos, length, limit) : length);
    } else at = hex(pos, at, length * 2 > limit ? limit : length * 2);
    pos += length;
  }
  at = text(entry, at);
  bytes = at - out;
  store<u32>(ends + ((<usize>rows) << 2), <u32>bytes);
  rows++;
  return true;
}

/** Length of the value that `start` found. */
let size: usize = 0;

/** Reads a length. @returns where the value begins */
function start(pos: usize): usize {
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

function keep(place: u32, from: usize, to: usize): void {
  const at = cells + ((<usize>rows * wanted + place - 1) << 3);
  store<u32>(at, <u32>from);
  store<u32>(at, <u32>to, 4);
}

function text(entry: usize, at: usize): usize {
  return copy(load<u32>(entry, 12), at, load<u32>(entry, 16));
}

function copy(from: usize, to: usize, length: usize): usize {
  v128.store(to, v128.load(from));
  for (let n: usize = 16; n < length; n += 16) v128.store(to + n, v128.load(from + n));
  return to + length;
}

/** Where bytes cannot be copied as they are: markup, controls other than tab and LF, and EF, with which U+FFFE and U+FFFF begin. */
function special(block: v128): i32 {
  const spaces = v128.or(i8x16.eq(block, i8x16.splat(9)), i8x16.eq(block, i8x16.splat(10)));
  let found = v128.andnot(i8x16.lt_u(block, i8x16.splat(32)), spaces);
  found = v128.or(found, i8x16.eq(block, i8x16.splat(0x3c)));
  found = v128.or(found, i8x16.eq(block, i8x16.splat(0x3e)));
  found = v128.or(found, i8x16.eq(block, i8x16.splat(0x26)));
  found = v128.or(found, i8x16.eq(block, i8x16.splat(0x22)));
  found = v128.or(found, i8x16.eq(block, i8x16.splat(0x27)));
  found = v128.or(found, i8x16.eq(block, i8x16.splat(-17)));
  return i8x16.bitmask(found);
}

function escaped(from: usize, to: usize, length: usize): usize {
  const end = from + length;
  let at = to;
  let pos = from;
  while (pos < end) {
    const block = v128.load(pos);
    v128.store(at, block);
    const left = end - pos;
    const found = special(block) | 0x10000;
    const good: usize = ctz(found);
    if (good >= left) return at + left;
    pos += good;
    at += good;
    if (good == 16) continue;
    const entity = entityOf(load<u8>(pos));
    if (entity != 0) {
      store<u64>(at, entity);
      at += <usize>(8 - (clz(entity) >> 3));
      pos++;
    } else if (load<u8>(pos) != 0xef) pos++;
    else if (end - pos >= 3 && isNonCharacter(pos)) pos += 3;
    else {
      store<u8>(at++, 0xef);
      pos++;
    }
  }
  return at;
}

/** U+FFFE and U+FFFF are EF BF BE and EF BF BF. */
function isNonCharacter(pos: usize): bool {
  return load<u8>(pos, 1) == 0xbf && load<u8>(pos, 2) >= 0xbe;
}

/** Its bytes from the lowest on; 0: there is none, the character is left out. */
function entityOf(code: u32): u64 {
  switch (code) {
    case 0x3c:
      return 0x3b746c26; // &lt;
    case 0x3e:
      return 0x3b746726; // &gt;
    case 0x26:
      return 0x3b706d6126; // &amp;
    case 0x22:
      return 0x3b746f757126; // &quot;
    case 0x27:
      return 0x3b736f706126; // &apos;
    case 0x0d:
      return 0x3b33312326; // &#13;
    default:
      return 0;
  }
}

function hex(from: usize, to: usize, digits: usize): usize {
  for (let n: usize = 0; n < digits; n++) {
    const byte: u32 = load<u8>(from + (n >> 1));
    const digit = n & 1 ? byte & 15 : byte >> 4;
    store<u8>(to + n, digit < 10 ? digit + 48 : digit + 87);
  }
  return to + digits;
}

/** @returns the bytes of so many characters: a byte 10xxxxxx goes on with the character before it */
function cut(from: usize, length: usize, limit: usize): usize {
  let characters: usize = 0;
  for (let n: usize = 0; n < length; n++) {
    if ((load<u8>(from + n) & 0xc0) != 0x80 && ++characters > limit) return n;
  }
  return length;
}

/** The bytes that a row may come to, by the characters that are in it. */
function measure(from: usize): usize {
  let sum = tagBytes;
  let pos = from;
  let entry = table;
  for (let i = 0; i < columns; i++, entry += COLUMN) {
    if (load<u8>(pos) == NULL) {
      pos++;
      continue;
    }
    pos = start(pos);
    const length = size;
    const kind = load<u32>(entry);
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
