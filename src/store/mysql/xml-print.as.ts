/**
 * Numbers and times of the binary protocol as the server prints them in the text protocol, for xml-rows.as.ts. Each returns the address
 * behind what it wrote.
 */

const ZEROS: u32 = 0x30303030;
const MYRIAD: u64 = 10_000;
const MINUS: u32 = 45;
const COLON: u32 = 58;
const SPACE: u32 = 32;
const POINT: u32 = 46;

/* @inline */ export function signed(value: i64, to: usize): usize {
  if (value >= 0) return unsigned(<u64>value, to);
  store<u8>(to, MINUS);
  return unsigned(<u64>-value, to + 1);
}

export function unsigned(value: u64, to: usize): usize {
  if (value >= MYRIAD) {
    const rest = value / MYRIAD;
    const at = rest <= <u64>u32.MAX_VALUE ? medium(<u32>rest, to) : unsigned(rest, to);
    store<u32>(at, four(<u32>(value - rest * MYRIAD)) + ZEROS);
    return at + 4;
  }
  return small(<u32>value, to);
}

function medium(value: u32, to: usize): usize {
  if (value < 10_000) return small(value, to);
  const rest = value / 10_000;
  const at = medium(rest, to);
  store<u32>(at, four(value - rest * 10_000) + ZEROS);
  return at + 4;
}

/** Less than 10,000; without zeros in front. */
/* @inline */ function small(value: u32, to: usize): usize {
  const digits = four(value);
  // The last digit stays whatever it is.
  const zeros = ctz(digits | 0x01000000) & 24;
  store<u32>(to, (digits + ZEROS) >> zeros);
  return to + 4 - <usize>(zeros >> 3);
}

/** @returns the four digits of a number, each in a byte, the first one in the lowest */
/* @inline */ function four(value: u32): u32 {
  const hundreds = (value * 5243) >> 19;
  const pairs = hundreds | ((value - hundreds * 100) << 16);
  const tens = ((pairs * 103) >> 10) & 0x000f000f;
  return tens | ((pairs - tens * 10) << 8);
}

function two(value: u32, to: usize): usize {
  const tens = (value * 103) >> 10;
  store<u16>(to, 0x3030 | tens | ((value - tens * 10) << 8));
  return to + 2;
}

/** `yyyy-mm-dd`. @param length of the value: 0 for the date that is all zeros, else 4 or more */
export function date(from: usize, length: usize, to: usize): usize {
  store<u32>(to, four(length < 4 ? 0 : load<u16>(from)) + ZEROS);
  store<u8>(to, MINUS, 4);
  two(length < 4 ? 0 : load<u8>(from, 2), to + 5);
  store<u8>(to, MINUS, 7);
  return two(length < 4 ? 0 : load<u8>(from, 3), to + 8);
}

/**
 * `yyyy-mm-dd hh:mm:ss` and so many digits of the fraction as the column has.
 * @param length of the value: 0, 4, 7 or 11, by which of its parts are not zero
 */
export function dateTime(from: usize, length: usize, to: usize, digits: usize): usize {
  let at = date(from, length, to);
  store<u8>(at, SPACE);
  at = two(length < 7 ? 0 : load<u8>(from, 4), at + 1);
  store<u8>(at, COLON);
  at = two(length < 7 ? 0 : load<u8>(from, 5), at + 1);
  store<u8>(at, COLON);
  at = two(length < 7 ? 0 : load<u8>(from, 6), at + 1);
  if (digits == 0) return at;
  store<u8>(at, POINT);
  const micros: u32 = length < 11 ? 0 : load<u32>(from, 7);
  const rest = micros / 10_000;
  two(rest, at + 1);
  store<u32>(at, four(micros - rest * 10_000) + ZEROS, 3);
  return at + 1 + digits;
}
