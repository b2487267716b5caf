/**
 * Station list and observation files (spec data-centre 4.1, 4.2, 4.5). Pure; any thread. Values travel as text and are
 * scaled in decimal, never through binary floating point.
 */
import { splitCsvLine } from './csv.js';
import { LineReader } from './lines.js';
import { RowXmlReader, rowXmlWriter, type BadRecord } from './rowxml.js';

/** Field order of every layout. */
export const OBSERVATION_FIELDS = ['obtid', 'ddatetime', 't', 'p', 'u', 'wd', 'wf', 'r', 'vis'] as const;
export type ObservationField = (typeof OBSERVATION_FIELDS)[number];
export type Measure = Exclude<ObservationField, 'obtid' | 'ddatetime'>;
export type ObservationFormat = 'csv' | 'xml' | 'json';
/** As written in files: degrees, hPa, m/s, mm and m with one decimal; % and degrees of wind as integers. */
export type Observation = Readonly<Record<ObservationField, string>>;
/** As stored: tenths where the files have one decimal; null where the file was empty. `ddatetime` is 14 digits. */
export type ScaledObservation = Readonly<
  { obtid: string; ddatetime: string } & Record<Measure, number | null>
>;

export interface Station {
  readonly province: string;
  readonly id: string;
  readonly name: string;
  /** Degrees and metres as written. */
  readonly lat: string;
  readonly lon: string;
  readonly height: string;
}

export interface BadLine {
  readonly line: number;
  readonly reason: string;
  readonly text: string;
}

const CSV_HEADER = '站点代码,数据时间,气温,气压,相对湿度,风向,风速,降雨量,能见度\n';
const INT_MIN = -2147483648;
const INT_MAX = 2147483647;
const MAX_LINE_CHARS = 10_000;

/** The bytes of one file, as text with LF. */
export function formatObservations(format: ObservationFormat, records: readonly Observation[]): string {
  const values = (record: Observation): string[] => OBSERVATION_FIELDS.map((field) => record[field]);
  switch (format) {
    case 'csv':
      return CSV_HEADER + records.map((record) => values(record).join(',') + '\n').join('');
    case 'xml': {
      const row = rowXmlWriter(OBSERVATION_FIELDS);
      return '<data>\n' + records.map((record) => row(values(record))).join('') + '</data>\n';
    }
    case 'json': {
      const rows = records.map((record) => JSON.stringify(record, [...OBSERVATION_FIELDS]));
      return '{"data":[\n' + rows.join(',\n') + (rows.length > 0 ? '\n' : '') + ']}\n';
    }
  }
}

/** `SURF_ZH_<yyyymmddhh24miss>_<pid>.<format>` */
export function observationFileName(time: string, pid: number, format: ObservationFormat): string {
  return `SURF_ZH_${time}_${pid}.${format}`;
}

/** A local time as 14 digits, `yyyymmddhh24miss`. */
export function digitsOfTime(time: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  return (
    String(time.getFullYear()).padStart(4, '0') +
    two(time.getMonth() + 1) +
    two(time.getDate()) +
    two(time.getHours()) +
    two(time.getMinutes()) +
    two(time.getSeconds())
  );
}

/** 14 digits of a time that exists, or undefined. Date separators between the digits are accepted (spec 1.5). */
export function timeDigits(text: string): string | undefined {
  const digits = /^\d{14}$/.test(text) ? text : text.replace(/[-:/ T]/g, '');
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(digits);
  if (!parts) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1).map(Number);
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = month === 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31;
  const real = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days;
  return real && hour < 24 && minute < 60 && second < 60 ? digits : undefined;
}

/**
 * A decimal text times ten to the power `places`, exactly.
 * @param excess what happens to further decimals: lost (observations, spec 4.5) or rounded half up (stations, spec 4.4,
 * where the database does it).
 * @returns undefined when the text is no plain decimal number or does not fit 32 bits.
 */
export function scaleDecimal(text: string, places: number, excess: 'truncate' | 'round'): number | undefined {
  // By hand: this runs seven times for every row.
  const negative = text.charCodeAt(0) === 45;
  let digits = 0;
  let decimals = -1;
  let value = 0;
  let up = false;
  for (let i = negative || text.charCodeAt(0) === 43 ? 1 : 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 46 && decimals < 0) {
      decimals = 0;
      continue;
    }
    if (code < 48 || code > 57) return undefined;
    digits++;
    if (decimals < 0 || decimals < places) value = value * 10 + (code - 48);
    else if (decimals === places) up = excess === 'round' && code >= 53;
    if (decimals >= 0) decimals++;
    if (value > INT_MAX + 1) return undefined;
  }
  if (digits === 0) return undefined;
  for (let i = Math.max(decimals, 0); i < places; i++) value *= 10;
  if (up) value++;
  if (negative && value !== 0) value = -value;
  return value >= INT_MIN && value <= INT_MAX ? value : undefined;
}

let lastTime: { readonly text: string; readonly digits: string | undefined } = {
  text: '',
  digits: undefined,
};
const SCALE: readonly number[] = [0, 0, 1, 1, 0, 0, 1, 1, 1];

/**
 * Checks and scales one record. @param values in the order of OBSERVATION_FIELDS; missing or empty measures are null.
 * @returns the row, or the reason why it is none.
 */
export function scaleObservation(values: readonly (string | undefined)[]): ScaledObservation | string {
  const obtid = (values[0] ?? '').trim();
  if (obtid === '') return 'obtid is empty';
  if (obtid.length > 10 || !/^[\w-]+$/.test(obtid))
    return `obtid "${obtid.slice(0, 20)}" is not 1 to 10 letters or digits`;
  const when = (values[1] ?? '').trim();
  // Thousands of rows of a file share one time.
  const ddatetime = when === lastTime.text ? lastTime.digits : timeDigits(when);
  lastTime = { text: when, digits: ddatetime };
  if (ddatetime === undefined) return `ddatetime "${when.slice(0, 30)}" is no time of 14 digits`;
  const measures: (number | null)[] = [];
  for (let i = 2; i < OBSERVATION_FIELDS.length; i++) {
    const text = (values[i] ?? '').trim();
    if (text === '') {
      measures.push(null);
      continue;
    }
    const scaled = scaleDecimal(text, SCALE[i] ?? 0, 'truncate');
    if (scaled === undefined) return `${OBSERVATION_FIELDS[i]} "${text.slice(0, 30)}" is no number that fits`;
    measures.push(scaled);
  }
  const [t = null, p = null, u = null, wd = null, wf = null, r = null, vis = null] = measures;
  return { obtid, ddatetime, t, p, u, wd, wf, r, vis };
}

export interface ObservationSink {
  row(row: ScaledObservation, line: number): void;
  bad(record: BadRecord): void;
}

export interface ObservationReader {
  push(text: string): void;
  end(): void;
}

/** Reads a csv or xml observation file that arrives in any cuts. Bad records are reported, the others go on. */
export function observationReader(format: 'csv' | 'xml', sink: ObservationSink): ObservationReader {
  if (format === 'xml') {
    const record = rowXmlWriter(OBSERVATION_FIELDS);
    return new RowXmlReader(
      OBSERVATION_FIELDS,
      {
        row: (values, line) => deliver(sink, values, line, () => record(values).trimEnd()),
        bad: (bad) => sink.bad(bad),
      },
      { maxRecordChars: MAX_LINE_CHARS },
    );
  }
  return new LineReader(
    {
      line: (raw, number) => {
        const text = number === 1 && raw.charCodeAt(0) === 0xfeff ? raw.slice(1) : raw;
        if (text.trim() === '' || isCsvHeader(text, number)) return;
        const fields = splitCsvLine(text);
        if (fields.length === OBSERVATION_FIELDS.length) deliver(sink, fields, number, () => text);
        else
          sink.bad({
            line: number,
            reason: `${fields.length} fields instead of ${OBSERVATION_FIELDS.length}`,
            text,
          });
      },
      tooLong: (text, line) =>
        sink.bad({ line, reason: `line longer than ${MAX_LINE_CHARS} characters`, text }),
    },
    MAX_LINE_CHARS,
  );
}

function deliver(
  sink: ObservationSink,
  values: readonly (string | undefined)[],
  line: number,
  text: () => string,
): void {
  const row = scaleObservation(values);
  if (typeof row === 'string') sink.bad({ line, reason: row, text: text() });
  else sink.row(row, line);
}

/** The header names the station in Chinese wherever it stands; a first line without any digit is a header too. */
function isCsvHeader(text: string, number: number): boolean {
  return text.startsWith('站') || (number === 1 && !/\d/.test(text));
}

/** One line of the station list, or the reason why it is none. */
export function parseStation(line: string): Station | string {
  const fields = splitCsvLine(line).map((field) => field.trim());
  if (fields.length !== 6) return `${fields.length} fields instead of 6`;
  const [province = '', id = '', name = '', lat = '', lon = '', height = ''] = fields;
  if (!/^[A-Za-z0-9]{1,10}$/.test(id))
    return `station id "${id.slice(0, 20)}" is not 1 to 10 letters or digits`;
  if (name === '' || name.length > 30) return 'the station name is not 1 to 30 characters';
  if (province.length > 30) return 'the province is longer than 30 characters';
  if (!within(lat, 90)) return `latitude "${lat.slice(0, 20)}" is not within -90 and 90`;
  if (!within(lon, 180)) return `longitude "${lon.slice(0, 20)}" is not within -180 and 180`;
  if (!within(height, 10_000)) return `height "${height.slice(0, 20)}" is not within -10000 and 10000 metres`;
  return { province, id, name, lat, lon, height };
}

/** The whole list. A header in the first line and empty lines are passed over; other lines that are no station are told. */
export function parseStations(text: string): { stations: Station[]; bad: BadLine[] } {
  const stations: Station[] = [];
  const bad: BadLine[] = [];
  const seen = new Map<string, number>();
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  lines.forEach((raw, index) => {
    const line = index + 1;
    if (raw.trim() === '') return;
    const station = parseStation(raw);
    if (typeof station === 'string') {
      if (line > 1 || /\d/.test(raw)) bad.push({ line, reason: station, text: raw.slice(0, 200) });
      return;
    }
    const first = seen.get(station.id);
    if (first !== undefined) {
      bad.push({
        line,
        reason: `station ${station.id} is on line ${first} already`,
        text: raw.slice(0, 200),
      });
      return;
    }
    seen.set(station.id, line);
    stations.push(station);
  });
  return { stations, bad };
}

function within(text: string, limit: number): boolean {
  return /^[+-]?\d+(\.\d+)?$/.test(text) && Math.abs(Number(text)) <= limit;
}
