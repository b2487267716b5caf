/**
 * Times written in any usual way, as ISO text for a database. The uncommon half of protocol/tab-writer.ts. Pure; any thread.
 */

export interface DateRules {
  /** The column has no time of day. */
  readonly dayOnly: boolean;
  /** Characters besides digits make it bad, unless it is ISO; otherwise they are dropped (spec data-centre 8.3). */
  readonly strict: boolean;
  /** The time of day that such a column cannot keep is dropped; otherwise it makes the value bad. */
  readonly cut: boolean;
}

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?)?$/i;
/** Minutes, seconds and a fraction of a second may be missing. */
const DIGITS = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d{3}|\d{6}|\d{9})?)?)?)?$/;

/** @returns `yyyy-mm-dd hh:mm:ss` with the fraction and zone there were, or `yyyy-mm-dd` for a column of days */
export function readDate(
  text: string,
  rules: DateRules,
): { readonly value: string } | { readonly reason: string } {
  const clean = text.trim();
  const iso = ISO.exec(clean);
  // A tag inside the value means that the record is broken: its digits are not this column's.
  const digits = rules.strict || clean.includes('<') ? clean : clean.replace(/\D/g, '');
  const match = iso ?? DIGITS.exec(digits);
  if (match === null) return { reason: 'is no time of 14 digits' };
  const [, year = '', month = '', day = '', hour = '00', minute = '00', second = '00', rest = '', zone = ''] =
    match;
  const date = `${year}-${month}-${day}`;
  const stamp = `${date}T${hour}:${minute}:${second}`;
  const time = new Date(`${stamp}Z`);
  if (Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19) !== stamp)
    return { reason: 'is a time that does not exist' };
  const fraction = rest === '' || rest.startsWith('.') ? rest : `.${rest}`;
  if (!rules.dayOnly) return { value: `${date} ${hour}:${minute}:${second}${fraction}${zone.toUpperCase()}` };
  if (!rules.cut && /[1-9]/.test(`${hour}${minute}${second}${fraction}`))
    return { reason: 'has a time of day, the column takes none' };
  return { value: date };
}
