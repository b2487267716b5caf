/** The objects of one array of a JSON file, of any size. A record's "line" is its number in the array. Worker thread. */
import { none } from 'stream-chain/core';
import { jsonParser, type Token } from 'stream-json/parser.js';
import type { BadRecord } from '../../../../protocol/rowxml.js';
import { reasonOf } from '../../../../runtime/errors.js';
import {
  BadInputError,
  BATCH_RECORDS,
  MAX_DEPTH,
  MAX_REJECT_CHARS,
  NamedFields,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { bytesOf } from './input.js';
import { flatten, NUMBER_MARK } from './json-values.js';
import { encodingOf, textOf } from './text.js';

/** Parsers build a token list per piece: small pieces keep it small. */
const PIECE_CHARS = 64 << 10;

export async function* readJson(input: FormatInput, options: FormatOptions): AsyncGenerator<RecordBatch> {
  const named = new NamedFields(input);
  const items = new ItemBuilder(options.records);
  let records: SourceRecord[] = [];
  let bad: BadRecord[] = [];
  items.onItem = (value) => {
    try {
      records.push({ values: flatten(value, named), line: items.count });
      named.close();
    } catch (error) {
      bad.push({
        line: items.count,
        reason: reasonOf(error),
        text: JSON.stringify(value).slice(0, MAX_REJECT_CHARS),
      });
    }
  };
  const parser = jsonParser({ streamValues: false });
  const feed = (text: string | typeof none): void => {
    let out: ReturnType<typeof parser>;
    try {
      out = parser(text as string);
    } catch (error) {
      throw new BadInputError(`it is no JSON somewhere behind item ${items.count}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    for (const token of tokensIn(out)) items.take(token);
  };
  const encoded = await encodingOf(bytesOf(input, options, input.progress), options.charset);
  /** Characters since the last item or the last token outside of one. */
  let silent = 0;
  for await (const text of textOf(encoded)) {
    for (let at = 0; at < text.length; at += PIECE_CHARS) {
      const before = items.steps;
      const piece = text.slice(at, at + PIECE_CHARS);
      feed(piece);
      silent = items.steps === before ? silent + piece.length : 0;
      if (silent > options.maxRecordBytes) {
        throw new BadInputError(
          `behind item ${items.count} something is longer than max_record_bytes, ${options.maxRecordBytes}`,
        );
      }
      if (records.length + bad.length >= BATCH_RECORDS) {
        yield { fields: named.fields, records, bad };
        records = [];
        bad = [];
      }
    }
  }
  feed(none);
  if (!items.found) {
    const path = options.records === '' ? 'array at its top' : `array ${options.records}`;
    throw new BadInputError(`it has no ${path}; found: ${items.seen()}`);
  }
  yield { fields: named.fields, records, bad };
}

function tokensIn(out: unknown): readonly Token[] {
  const { values } = out as { readonly values?: readonly Token[] };
  return values ?? [];
}

/** Follows the tokens, and puts the items of the wanted array together. */
class ItemBuilder {
  /** Items begun. */
  count = 0;
  /** Grows with every item and every token outside of one: a sign that nothing large is being collected. */
  steps = 0;
  found = false;
  onItem: (value: unknown) => void = () => undefined;
  /** Keys of the objects around; null for an array. */
  private readonly path: (string | null)[] = [];
  private readonly top = new Set<string>();
  /** Depth of the wanted array; 0: not in it. */
  private inside = 0;
  /** Containers of the item being built. */
  private building: (unknown[] | Record<string, unknown>)[] = [];
  private keys: string[] = [];

  constructor(private readonly wanted: string) {}

  seen(): string {
    return this.top.size === 0 ? 'no names' : [...this.top].join(', ');
  }

  take(token: Token): void {
    if (this.building.length === 0) this.steps++;
    switch (token.name) {
      case 'startObject':
        return this.start({}, '');
      case 'startArray':
        return this.start([], null);
      case 'endObject':
      case 'endArray':
        return this.end();
      case 'keyValue':
        if (this.building.length > 0) this.keys[this.keys.length - 1] = token.value;
        else {
          this.path[this.path.length - 1] = token.value;
          if (this.path.length === 1 && this.top.size < 20) this.top.add(token.value);
        }
        return;
      case 'numberValue':
        return this.value(NUMBER_MARK + token.value);
      case 'stringValue':
      case 'nullValue':
      case 'trueValue':
      case 'falseValue':
        return this.value(token.value);
      default:
    }
  }

  private start(container: unknown[] | Record<string, unknown>, key: string | null): void {
    const isItem = this.inside > 0 && this.building.length === 0;
    if (this.building.length > 0 || isItem) {
      if (this.building.length > 2 * MAX_DEPTH) {
        throw new BadInputError(`its item ${this.count} is nested deeper than ${2 * MAX_DEPTH} levels`);
      }
      if (isItem) this.count++;
      this.building.push(container);
      this.keys.push('');
      return;
    }
    if (this.path.length >= 1_000) throw new BadInputError('it is nested deeper than 1000 levels');
    if (key === null && this.path.every((part) => part !== null) && this.path.join('.') === this.wanted) {
      this.inside = this.path.length + 1;
      this.found = true;
    }
    this.path.push(key);
  }

  private end(): void {
    const done = this.building.pop();
    if (done !== undefined) {
      this.keys.pop();
      this.value(done);
      return;
    }
    this.path.pop();
    if (this.path.length < this.inside) this.inside = 0;
  }

  private value(value: unknown): void {
    const parent = this.building[this.building.length - 1];
    if (parent !== undefined) {
      if (Array.isArray(parent)) parent.push(value);
      else {
        // A plain assignment would let a key named __proto__ change the object.
        const key = this.keys[this.keys.length - 1] ?? '';
        if (key === '__proto__') Object.defineProperty(parent, key, { value, enumerable: true });
        else parent[key] = value;
      }
      return;
    }
    if (this.inside === 0) return;
    if (typeof value !== 'object' || value === null) this.count++;
    this.steps++;
    this.onItem(value);
  }
}
