/**
 * Numbers written in any usual way, made into what a column of a declared size takes, by text: no digit is lost on the way
 * through a double. The uncommon half of protocol/tab-writer.ts. Pure; any thread.
 */

export interface NumberShape {
  readonly kind: 'integer' | 'decimal' | 'float';
  /** Digits at most and, of them, digits behind the point; undefined: any. */
  readonly length: number | undefined;
  readonly scale: number | undefined;
}

export interface NumberRules {
  /** Other characters make the value bad; otherwise they are dropped (spec data-centre 8.3). */
  readonly strict: boolean;
  /** More decimals than the column has are rounded instead of refused. */
  readonly cut: boolean;
}

/** No database keeps more digits than a fraction of this. */
const MAX_CHARS = 1_000;
const NUMBER = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/;

/** @returns the number; undefined for an empty text, which is NULL; or what is wrong with it */
export function readNumber(
  text: string,
  shape: NumberShape,
  rules: NumberRules,
): { readonly value: string | undefined } | { readonly reason: string } {
  if (text.trim() === '') return { value: undefined };
  if (text.length > MAX_CHARS) return { reason: `is longer than ${MAX_CHARS} characters` };
  let match = NUMBER.exec(text.trim());
  // A tag inside the value means that the record is broken: its digits are not this column's.
  if (!rules.strict && match === null && !text.includes('<'))
    match = NUMBER.exec(text.replace(/[^0-9+\-.]/g, ''));
  const [, sign = '', whole = '', fraction = '', exponent] = match ?? [];
  if (whole + fraction === '') return { reason: 'is no number' };
  if (shape.kind === 'float')
    return {
      value: `${sign === '-' ? '-' : ''}${whole || '0'}${fraction && `.${fraction}`}${exponent ? `e${exponent}` : ''}`,
    };
  const places = shape.kind === 'integer' ? 0 : shape.scale;
  let [before, behind] = shift(whole, fraction, Number(exponent ?? 0));
  if (places !== undefined && behind.length > places) {
    behind = behind.replace(/0+$/, '');
    if (behind.length > places) {
      if (!rules.cut) return { reason: `has more than ${places} decimals` };
      [before, behind] = round(before, behind, places);
    }
  }
  before = before.replace(/^0+/, '');
  if (shape.kind === 'decimal' && shape.length !== undefined && places !== undefined) {
    if (before.length > shape.length - places)
      return { reason: `has more than ${shape.length - places} digits before the point` };
  }
  const digits = `${before || '0'}${behind && `.${behind}`}`;
  return { value: sign === '-' && /[1-9]/.test(digits) ? `-${digits}` : digits };
}

/** The point moved by the exponent. */
function shift(whole: string, fraction: string, exponent: number): [string, string] {
  if (exponent >= 0) {
    const behind = fraction.padEnd(exponent, '0');
    return [whole + behind.slice(0, exponent), behind.slice(exponent)];
  }
  const before = whole.padStart(-exponent, '0');
  return [before.slice(0, before.length + exponent), before.slice(before.length + exponent) + fraction];
}

/** Half away from zero, as databases round decimals. */
function round(before: string, behind: string, places: number): [string, string] {
  const kept = BigInt(`0${before}${behind.slice(0, places)}`) + (behind.charAt(places) >= '5' ? 1n : 0n);
  const digits = String(kept).padStart(places + 1, '0');
  return [digits.slice(0, digits.length - places), digits.slice(digits.length - places)];
}
