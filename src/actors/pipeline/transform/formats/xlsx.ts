/**
 * The rows of one sheet of an XLSX file, read as they come: neither the sheet nor the file is held. Numbers keep the digits that are in
 * the file, dates become text; of a formula the saved result counts, a formula without one and an error value make the row bad. A
 * record's line is the row number of the sheet. Worker thread.
 */
import type { BadRecord } from '../../../../protocol/rowxml.js';
import { checkedHeader } from './csv.js';
import {
  BadInputError,
  BATCH_RECORDS,
  MAX_REJECT_CHARS,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { sheetDate, XlsxBook } from './xlsx-book.js';

/** As many as a sheet can have. */
const MAX_COLUMNS = 16_384;

export async function* readXlsx(input: FormatInput, options: FormatOptions): AsyncGenerator<RecordBatch> {
  const book = await XlsxBook.open(input.path, options);
  try {
    const { part, from1904 } = await book.sheet(options.sheet);
    const texts = await book.sharedTexts();
    const rows = new SheetRows(texts, await book.dateStyles(), from1904);
    const table = new Table(options);
    rows.onRow = (values, row, reason) => table.add(values, row, reason);
    let read = 0;
    let silent = 0;
    let seen = 0;
    const progress: number[] = [];
    const batches = book.parse<RecordBatch>(part, true, rows, (characters) => {
      read += characters;
      progress[0] = read;
      silent = rows.count === seen ? silent + characters : 0;
      seen = rows.count;
      if (silent > options.maxRecordBytes) {
        const limit = options.maxRecordBytes;
        throw new BadInputError(
          `behind row ${rows.count} something is longer than max_record_bytes, ${limit}`,
        );
      }
      return table.size >= BATCH_RECORDS ? table.take() : undefined;
    });
    for await (const batch of batches) {
      // Of the characters unpacked, as if they were the bytes of the file.
      await input.progress(Math.min(read, book.size(part)));
      yield batch;
    }
    yield table.end();
  } finally {
    book.close();
  }
}

/** Header, skipped rows, and rows of the right width. */
class Table {
  private fields: readonly string[] | undefined;
  private skip: number;
  private records: SourceRecord[] = [];
  private bad: BadRecord[] = [];

  constructor(private readonly options: FormatOptions) {
    this.skip = options.skipLines + (options.header === 'skip' ? 1 : 0);
    if (options.header !== 'names' && options.fields.length > 0) this.fields = options.fields;
  }

  get size(): number {
    return this.records.length + this.bad.length;
  }

  add(values: (string | undefined)[], row: number, reason: string | undefined): void {
    if (this.skip > 0) {
      this.skip--;
      return;
    }
    if (values.every((value) => value === undefined || value === '') && reason === undefined) return;
    if (this.fields === undefined) {
      if (this.options.header === 'names') {
        this.fields = checkedHeader(
          Array.from(values, (value) => value ?? ''),
          this.options.fields,
        );
        return;
      }
      this.fields = values.map((_, i) => `f${i + 1}`);
    }
    const { length } = this.fields;
    const more = values.slice(length).some((value) => value !== undefined && value !== '');
    const why = reason ?? (more ? `${values.length} cells instead of ${length}` : undefined);
    if (why === undefined) {
      while (values.length < length) values.push(undefined);
      this.records.push({ values, line: row });
    } else {
      this.bad.push({
        line: row,
        reason: why,
        text: values
          .map((value) => value ?? '')
          .join(',')
          .slice(0, MAX_REJECT_CHARS),
      });
    }
  }

  take(): RecordBatch {
    const batch = { fields: this.fields ?? [], records: this.records, bad: this.bad };
    this.records = [];
    this.bad = [];
    return batch;
  }

  end(): RecordBatch {
    if (this.fields === undefined && this.options.header === 'names') {
      const { fields } = this.options;
      throw new BadInputError(
        `it has no header row${fields.length === 0 ? '' : `; expected: ${fields.join(', ')}`}`,
      );
    }
    return this.take();
  }
}

/** Follows the tags of a sheet (ECMA-376 18.3.1). */
class SheetRows {
  /** Rows begun. */
  count = 0;
  onRow: (values: (string | undefined)[], row: number, reason: string | undefined) => void = () => undefined;
  private row = 0;
  private values: (string | undefined)[] = [];
  private column = -1;
  private kind = '';
  private style = 0;
  private formula = false;
  private value: string | undefined;
  private inValue = false;
  private reason: string | undefined;

  constructor(
    private readonly texts: readonly string[],
    private readonly dates: readonly boolean[],
    private readonly from1904: boolean,
  ) {}

  open(name: string, attributes: Readonly<Record<string, string>>): void {
    switch (name) {
      case 'row':
        this.count++;
        this.row = attributes['r'] === undefined ? this.row + 1 : Number(attributes['r']);
        this.values = [];
        this.column = -1;
        this.reason = undefined;
        return;
      case 'c':
        this.column = attributes['r'] === undefined ? this.column + 1 : columnOf(attributes['r']);
        if (!(this.column < MAX_COLUMNS)) {
          throw new BadInputError(
            `its row ${this.row} has a cell at "${(attributes['r'] ?? '').slice(0, 20)}"`,
          );
        }
        this.kind = attributes['t'] ?? 'n';
        this.style = Number(attributes['s'] ?? 0);
        this.formula = false;
        this.value = undefined;
        return;
      case 'f':
        this.formula = true;
        return;
      case 'v':
      case 't':
        this.inValue = true;
        this.value ??= '';
        return;
      default:
    }
  }

  text(text: string): void {
    if (this.inValue) this.value = (this.value ?? '') + text;
  }

  close(name: string): void {
    if (name === 'v' || name === 't') this.inValue = false;
    else if (name === 'c') this.cell();
    else if (name === 'row') this.onRow(this.values, this.row, this.reason);
  }

  private cell(): void {
    const { value } = this;
    while (this.values.length < this.column) this.values.push(undefined);
    if (value === undefined) {
      if (this.formula) this.reason ??= `the formula in ${this.place()} has no saved result`;
      this.values[this.column] = undefined;
      return;
    }
    this.values[this.column] = this.meaning(value);
  }

  private meaning(value: string): string {
    switch (this.kind) {
      case 's': {
        const text = this.texts[Number(value)];
        if (text === undefined) this.reason ??= `${this.place()} refers to a text that is not there`;
        return text ?? '';
      }
      case 'e':
        this.reason ??= `${this.place()} has the error value ${value.slice(0, 20)}`;
        return value;
      case 'b':
        return value === '1' ? 'true' : 'false';
      case 'n': {
        if (this.dates[this.style] === true) {
          const date = sheetDate(value, this.from1904);
          if (date === undefined) this.reason ??= `${this.place()} is no date: ${value.slice(0, 40)}`;
          return date ?? value;
        }
        return decimal(value);
      }
      default:
        return value;
    }
  }

  private place(): string {
    return `cell ${this.column + 1} of the row`;
  }
}

/** `BC12` -> 54 */
function columnOf(reference: string): number {
  let column = 0;
  for (let i = 0; i < reference.length && i < 4; i++) {
    const code = reference.charCodeAt(i) & ~32;
    if (code < 65 || code > 90) break;
    column = column * 26 + code - 64;
  }
  return column === 0 ? NaN : column - 1;
}

/** Sheets keep binary numbers as 30.100000000000001 or 1E-3; what people typed has at most 15 digits. */
function decimal(value: string): string {
  if (!/[eE]|\.\d{13}/.test(value)) return value;
  const number = Number(Number(value).toPrecision(15));
  if (!Number.isFinite(number)) return value;
  const text = String(number);
  return /e/i.test(text)
    ? number
        .toFixed(Math.abs(number) < 1 ? 20 : 0)
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, '')
    : text;
}
