/**
 * Numbers and times of the binary protocol as the server prints them in the text protocol, for xml-rows.as.ts. Each returns the address
 * behind what it wrote.
 */

const ZERO: u32 = 48;
const BILLION: u64 = 1_000_000_000;

export function signed(value: i64, to: usize): usize {
  if (value >= 0) return unsigned(<u64>value, to);
  store<u8>(to, 45);
  return unsigned(<u64>-value, to + 1);
}

export function unsigned(value: u64, to: usize): usize {
  if (value <= <u64>u32.MAX_VALUE) return short(<u32>value, to);
  const rest = value / BILLION;
  return padded(<u32>(value - rest * BILLION), 9, unsigned(rest, to));
}

function short(value: u32, to: usize): usize {
  if (value < 10) {
    store<u8>(to, ZERO + value);
    return to + 1;
  }
  let count: usize = 2;
  for (let power: u64 = 100; power <= value; power *= 10) count++;
  return padded(value, count, to);
}

/** With zeros in front. */
function padded(value: u32, count: usize, to: usize): usize {
  let at = to + count;
  while (at > to) {
    const rest = value / 10;
    store<u8>(--at, ZERO + value - rest * 10);
    value = rest;
  }
  return to + count;
}

/** `yyyy-mm-dd`. @param length of the value: 0 for the date that is all zeros, else 4 or more */
export function date(from: usize, length: usize, to: usize): usize {
  let at = padded(length < 4 ? 0 : load<u16>(from), 4, to);
  store<u8>(at, 45);
  at = padded(length < 4 ? 0 : load<u8>(from, 2), 2, at + 1);
  store<u8>(at, 45);
  return padded(length < 4 ? 0 : load<u8>(from, 3), 2, at + 1);
}

/**
 * `yyyy-mm-dd hh:mm:ss` and so many digits of the fraction as the column has.
 * @param length of the value: 0, 4, 7 or 11, by which of its parts are not zero
 */
export function dateTime(from: usize, length: usize, to: usize, digits: usize): usize {
  let at = date(from, length, to);
  store<u8>(at, 32);
  at = padded(length < 7 ? 0 : load<u8>(from, 4), 2, at + 1);
  store<u8>(at, 58);
  at = padded(length < 7 ? 0 : load<u8>(from, 5), 2, at + 1);
  store<u8>(at, 58);
  at = padded(length < 7 ? 0 : load<u8>(from, 6), 2, at + 1);
  if (digits == 0) return at;
  store<u8>(at, 46);
  padded(length < 11 ? 0 : load<u32>(from, 7), 6, at + 1);
  return at + 1 + digits;
}
