/**
 * The parts of an XLSX workbook (ECMA-376) that rows need: sheets, shared texts, which cell styles are dates. Parts are unpacked and
 * parsed as they come; only the shared texts and the styles are held, within a limit. Worker thread.
 */
import type { Readable } from 'node:stream';
import { SaxesParser, type SaxesTagPlain } from 'saxes';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import { reasonOf } from '../../../../runtime/errors.js';
import { BadInputError } from './format.js';
import { limited, type InputLimits } from './input.js';

/** Entries of the zip file that are looked at. */
const MAX_ENTRIES = 10_000;
/** Bytes of the shared texts. */
const MAX_SHARED = 256 << 20;
const PIECE_CHARS = 64 << 10;

export interface TagSink {
  open?(name: string, attributes: Readonly<Record<string, string>>): void;
  text?(text: string): void;
  close?(name: string): void;
}

export class XlsxBook {
  private constructor(
    private readonly zip: ZipFile,
    private readonly entries: ReadonlyMap<string, Entry>,
    private readonly limits: InputLimits,
  ) {}

  /** @throws BadInputError when it is no such file */
  static async open(path: string, limits: InputLimits): Promise<XlsxBook> {
    const zip = await openPromise(path, { autoClose: false, lazyEntries: true }).catch(notZip);
    try {
      const entries = new Map<string, Entry>();
      for await (const entry of zip.eachEntry()) {
        if (entries.size >= MAX_ENTRIES) throw new BadInputError(`it has more than ${MAX_ENTRIES} parts`);
        entries.set(entry.fileName, entry);
      }
      return new XlsxBook(zip, entries, limits);
    } catch (error) {
      zip.close();
      if (error instanceof BadInputError) throw error;
      return notZip(error);
    }
  }

  close(): void {
    this.zip.close();
  }

  /** Compressed bytes of a part. */
  size(part: string): number {
    return this.entries.get(part)?.compressedSize ?? 0;
  }

  /**
   * Parses a part. @param every called after each piece; its batches go out before the next is read.
   * @returns nothing when there is no such part and it is not `needed`
   */
  async *parse<T>(
    part: string,
    needed: boolean,
    sink: TagSink,
    every: (characters: number) => T | undefined,
  ): AsyncGenerator<T> {
    const entry = this.entries.get(part);
    if (entry === undefined) {
      if (needed) throw new BadInputError(`it is no workbook: it lacks ${part}`);
      return;
    }
    const parser = new SaxesParser({ xmlns: false, position: false });
    parser.on('opentag', (tag: SaxesTagPlain) => sink.open?.(plain(tag.name), tag.attributes));
    parser.on('closetag', (tag: SaxesTagPlain) => sink.close?.(plain(tag.name)));
    parser.on('text', (text) => sink.text?.(text));
    parser.on('error', (error) => {
      throw new BadInputError(`its ${part} is no well-formed XML: ${error.message}`);
    });
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let stream: Readable | undefined;
    try {
      stream = await this.zip.openReadStreamPromise(entry);
      const packed = entry.compressedSize;
      for await (const bytes of limited(stream, () => packed, this.limits)) {
        const text = decoder.decode(bytes, { stream: true });
        for (let at = 0; at < text.length; at += PIECE_CHARS) {
          const piece = text.slice(at, at + PIECE_CHARS);
          parser.write(piece);
          const out = every(piece.length);
          if (out !== undefined) yield out;
        }
      }
      parser.close();
    } catch (error) {
      if (error instanceof BadInputError) throw error;
      throw new BadInputError(`its ${part} cannot be read: ${reasonOf(error)}`, { cause: error });
    } finally {
      stream?.destroy();
    }
  }

  private async read(part: string, needed: boolean, sink: TagSink): Promise<void> {
    for await (const nothing of this.parse<never>(part, needed, sink, () => undefined)) void nothing;
  }

  /** @param wanted name, or number from 1, or '' for the first. @returns the part, and whether days count from 1904 */
  async sheet(wanted: string): Promise<{ readonly part: string; readonly from1904: boolean }> {
    const sheets: { readonly name: string; readonly id: string }[] = [];
    const targets = new Map<string, string>();
    let from1904 = false;
    await this.read('xl/workbook.xml', true, {
      open(name, attributes) {
        if (name === 'sheet') sheets.push({ name: attributes['name'] ?? '', id: relation(attributes) });
        if (name === 'workbookPr') from1904 = /^(1|true|on)$/.test(attributes['date1904'] ?? '');
      },
    });
    await this.read('xl/_rels/workbook.xml.rels', true, {
      open(name, attributes) {
        if (name === 'Relationship') targets.set(attributes['Id'] ?? '', attributes['Target'] ?? '');
      },
    });
    const found =
      sheets.find(({ name }) => name === wanted) ??
      (wanted === '' ? sheets[0] : /^\d{1,5}$/.test(wanted) ? sheets[Number(wanted) - 1] : undefined);
    if (found === undefined) {
      const names = sheets.map(({ name }) => name).join(', ');
      throw new BadInputError(`it has no sheet ${wanted}; found: ${names}`.slice(0, 500));
    }
    const target = targets.get(found.id) ?? '';
    return { part: target.startsWith('/') ? target.slice(1) : `xl/${target}`, from1904 };
  }

  async sharedTexts(): Promise<readonly string[]> {
    const texts: string[] = [];
    let text = '';
    let bytes = 0;
    let inText = false;
    // Phonetic hints for Japanese text are not part of it.
    let phonetic = false;
    await this.read('xl/sharedStrings.xml', false, {
      open(name) {
        if (name === 'si') text = '';
        else if (name === 'rPh') phonetic = true;
        else if (name === 't') inText = !phonetic;
      },
      text(piece) {
        if (!inText) return;
        text += piece;
        bytes += piece.length;
        if (bytes > MAX_SHARED) throw new BadInputError(`its texts have more than ${MAX_SHARED} bytes`);
      },
      close(name) {
        if (name === 't') inText = false;
        else if (name === 'rPh') phonetic = false;
        else if (name === 'si') {
          texts.push(text);
          bytes += 16;
        }
      },
    });
    return texts;
  }

  /** For each cell style: whether its numbers are dates. */
  async dateStyles(): Promise<readonly boolean[]> {
    const custom = new Map<number, boolean>();
    const styles: boolean[] = [];
    let inCells = false;
    await this.read('xl/styles.xml', false, {
      open(name, attributes) {
        if (name === 'numFmt')
          custom.set(Number(attributes['numFmtId']), isDateFormat(attributes['formatCode'] ?? ''));
        else if (name === 'cellXfs') inCells = true;
        else if (name === 'xf' && inCells) {
          const id = Number(attributes['numFmtId']);
          styles.push(custom.get(id) ?? ((id >= 14 && id <= 22) || (id >= 45 && id <= 47)));
        }
      },
      close(name) {
        if (name === 'cellXfs') inCells = false;
      },
    });
    return styles;
  }
}

/** Some writers put a prefix before every name. */
function plain(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

function relation(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes).find(([key]) => key.endsWith(':id'))?.[1] ?? '';
}

/** Letters of a date outside of quotes, brackets and escapes; the part for positive numbers decides. */
function isDateFormat(code: string): boolean {
  const first = code.replace(/"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]/gi, '').split(';')[0] ?? '';
  return /[ymdhs]/i.test(first) && !/general/i.test(first);
}

function notZip(error: unknown): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (/^E(MFILE|NFILE|NOMEM|AGAIN|IO)$/.test(code)) throw error;
  throw new BadInputError(`it is no XLSX file: ${reasonOf(error)}`, { cause: error });
}

const DAY_MS = 86_400_000;

/**
 * A day number of a sheet as `yyyy-mm-dd hh:mm:ss`, or with only one of the two parts where the other says nothing.
 * The 29 February 1900 that never was is day 60. @returns undefined for what is no day number
 */
export function sheetDate(text: string, from1904: boolean): string | undefined {
  const days = Number(text);
  if (text === '' || !Number.isFinite(days) || days < 0 || days > 2_958_466) return undefined;
  const base = from1904 ? Date.UTC(1904, 0, 1) : Date.UTC(1899, 11, days < 60 ? 31 : 30);
  // To the second: the fractions are binary.
  const time = new Date(base + Math.round((days * DAY_MS) / 1000) * 1000);
  const [day = '', clock = ''] = time.toISOString().slice(0, 19).split('T');
  if (days < 1) return clock;
  return Number.isInteger(days) ? day : `${day} ${clock}`;
}
