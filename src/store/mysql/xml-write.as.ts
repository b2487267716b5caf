/** Values and texts into the output, for xml-rows.as.ts. Each returns the address behind what it wrote. */

/* @inline */ export function copy(from: usize, to: usize, length: usize): usize {
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

export function escaped(from: usize, to: usize, length: usize): usize {
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
export function entityOf(code: u32): u64 {
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

export function hex(from: usize, to: usize, digits: usize): usize {
  for (let n: usize = 0; n < digits; n++) {
    const byte: u32 = load<u8>(from + (n >> 1));
    const digit = n & 1 ? byte & 15 : byte >> 4;
    store<u8>(to + n, digit < 10 ? digit + 48 : digit + 87);
  }
  return to + digits;
}

/** @returns the bytes of so many characters: a byte 10xxxxxx goes on with the character before it */
export function cut(from: usize, length: usize, limit: usize): usize {
  let characters: usize = 0;
  for (let n: usize = 0; n < length; n++) {
    if ((load<u8>(from + n) & 0xc0) != 0x80 && ++characters > limit) return n;
  }
  return length;
}
