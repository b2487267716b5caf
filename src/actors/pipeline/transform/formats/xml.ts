/**
 * The elements at one path of an XML file. Fields of a record: `@name` for its attributes, `name` for the text of a child, `a.b`
 * deeper, `a.@b` for a child's attribute, `.` for its own text. No entity beyond the five of XML is known, nothing is
 * fetched, so none can grow. A record's line is where it begins. Worker thread.
 */
import { SaxesParser } from 'saxes';
import type { BadRecord } from '../../../../protocol/rowxml.js';
import { reasonOf } from '../../../../runtime/errors.js';
import {
  BadInputError,
  BATCH_RECORDS,
  MAX_DEPTH,
  NamedFields,
  type FormatInput,
  type FormatOptions,
  type RecordBatch,
  type SourceRecord,
} from './format.js';
import { bytesOf } from './input.js';
import { encodingOf, textOf } from './text.js';

const PIECE_CHARS = 64 << 10;

export async function* readXml(input: FormatInput, options: FormatOptions): AsyncGenerator<RecordBatch> {
  const named = new NamedFields(input);
  const records: SourceRecord[] = [];
  const bad: BadRecord[] = [];
  const elements = new RecordBuilder(options.records, named);
  elements.onRecord = (values, line, reason) => {
    if (reason === undefined) records.push({ values, line });
    else bad.push({ line, reason, text: values.map((value) => value ?? '').join(',') });
    named.close();
  };
  const parser = new SaxesParser({ xmlns: false, position: true });
  parser.on('opentag', (tag) => elements.open(tag.name, tag.attributes, parser.line));
  parser.on('closetag', () => elements.close());
  parser.on('text', (text) => elements.text(text));
  parser.on('cdata', (text) => elements.text(text));
  parser.on('error', (error) => {
    throw new BadInputError(`it is no well-formed XML: ${error.message}`);
  });
  const guarded = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (error instanceof BadInputError) throw error;
      throw new BadInputError(`it is no well-formed XML: ${reasonOf(error)}`, { cause: error });
    }
  };
  const encoded = await encodingOf(bytesOf(input, options, input.progress), options.charset);
  /** Characters since the last record or the last tag outside of one. */
  let silent = 0;
  for await (const text of textOf(encoded)) {
    for (let at = 0; at < text.length; at += PIECE_CHARS) {
      const before = elements.steps;
      const piece = text.slice(at, at + PIECE_CHARS);
      guarded(() => void parser.write(piece));
      silent = elements.steps === before ? silent + piece.length : 0;
      if (silent > options.maxRecordBytes) {
        const limit = options.maxRecordBytes;
        throw new BadInputError(`at line ${parser.line} something is longer than max_record_bytes, ${limit}`);
      }
      if (records.length + bad.length >= BATCH_RECORDS) {
        yield { fields: named.fields, records: records.splice(0), bad: bad.splice(0) };
      }
    }
  }
  guarded(() => void parser.close());
  if (!elements.found) {
    throw new BadInputError(`it has no element ${options.records}; found: ${elements.seen()}`);
  }
  yield { fields: named.fields, records, bad };
}

/** Follows the tags, and puts the values of records together. */
class RecordBuilder {
  /** Grows with every record and every tag outside of one. */
  steps = 0;
  found = false;
  onRecord: (values: (string | undefined)[], line: number, reason: string | undefined) => void = () =>
    undefined;
  private readonly wanted: string;
  private readonly path: string[] = [];
  private readonly paths = new Set<string>();
  /** Depth of the record's element; 0: not in one. */
  private depth = 0;
  private line = 0;
  private values: (string | undefined)[] = [];
  private reason: string | undefined;
  /** Text of the elements open in the record, the record itself first, and whether they have children. */
  private texts: string[] = [];
  private parents: boolean[] = [];

  constructor(
    records: string,
    private readonly named: NamedFields,
  ) {
    this.wanted = records.startsWith('/') ? records : `/${records}`;
  }

  seen(): string {
    return this.paths.size === 0 ? 'no elements' : [...this.paths].join(', ');
  }

  open(name: string, attributes: Readonly<Record<string, string>>, line: number): void {
    this.path.push(name);
    if (this.path.length > 1_000)
      throw new BadInputError(`at line ${line} it is nested deeper than 1000 levels`);
    if (this.depth === 0) {
      this.steps++;
      const path = `/${this.path.join('/')}`;
      if (this.paths.size < 10 && this.path.length <= 4) this.paths.add(path.slice(0, 200));
      if (path !== this.wanted && !this.anywhere(name)) return;
      this.found = true;
      this.depth = this.path.length;
      this.line = line;
      this.values = new Array<string | undefined>(this.named.fields.length).fill(undefined);
      this.reason = undefined;
    } else {
      this.parents[this.parents.length - 1] = true;
      if (this.path.length - this.depth > MAX_DEPTH) {
        this.reason ??= `it is nested deeper than ${MAX_DEPTH} levels`;
      }
    }
    this.texts.push('');
    this.parents.push(false);
    const prefix = this.name();
    for (const [key, value] of Object.entries(attributes))
      this.put(`${prefix === '' ? '' : `${prefix}.`}@${key}`, value);
  }

  text(text: string): void {
    if (this.depth > 0) this.texts[this.texts.length - 1] += text;
  }

  close(): void {
    if (this.depth === 0) {
      this.path.pop();
      return;
    }
    const text = this.texts.pop() ?? '';
    const isParent = this.parents.pop() === true;
    const name = this.name();
    // Blanks between the children of an element are layout.
    if (!isParent && (name !== '' || text.trim() !== '')) this.put(name === '' ? '.' : name, text);
    else if (isParent && text.trim() !== '') this.put(name === '' ? '.' : name, text.trim());
    if (this.path.length === this.depth) {
      this.depth = 0;
      this.steps++;
      this.onRecord(this.values, this.line, this.reason);
    }
    this.path.pop();
  }

  /** `//name` matches at any depth. */
  private anywhere(name: string): boolean {
    return this.wanted.startsWith('//') && this.wanted.slice(2) === name;
  }

  private name(): string {
    return this.path.slice(this.depth).join('.');
  }

  private put(name: string, value: string): void {
    const at = this.named.position(name);
    if (at === undefined) return;
    if (this.values[at] !== undefined) this.reason ??= `${name} comes twice`;
    this.values[at] = value;
  }
}
