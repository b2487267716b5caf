/** What the conf of `transform` says about a format. Pure; any thread. */
import { fixedPlaces } from './formats/fixed-width.js';
import type { FormatOptions } from './formats/format.js';
import { formatOf, formats } from './formats/readers.js';
import type { FormatName, TransformValues } from './keys.js';

/** The format of a file; undefined when its name does not tell. */
export function formatFor(params: TransformValues, name: string): FormatName | undefined {
  return params.format === 'auto' ? formatOf(name) : params.format;
}

/** @throws RangeError that names the key that is wrong */
export function formatOptions(params: TransformValues, format: FormatName): FormatOptions {
  const separator =
    params.separator === '' ? (formats[format].separator ?? ',') : params.separator.replace('\\t', '\t');
  const quote = params.quote === 'none' ? '' : params.quote;
  if (separator.length !== 1 || /[\r\n]/.test(separator))
    throw new RangeError('separator must be one character');
  if (quote.length > 1 || (quote !== '' && quote === separator))
    throw new RangeError('quote must be one character or none');
  if (format === 'fixed-width') fixedPlaces(params.fields);
  if (format === 'xml' && params.records === '') throw new RangeError('xml needs records = /path/of/element');
  if (!/^(?:auto|utf-16)$/i.test(params.charset)) {
    // Throws a RangeError that names it when there is no such encoding.
    new TextDecoder(params.charset);
  }
  return {
    charset: params.charset,
    separator,
    quote,
    header: params.header,
    skipLines: params.skip_lines,
    fields: params.fields,
    widthUnit: params.width_unit,
    records: params.records,
    sheet: params.sheet,
    maxRecordBytes: params.max_record_bytes,
    maxUnpacked: params.max_unpacked,
    maxRatio: params.max_ratio,
  };
}
