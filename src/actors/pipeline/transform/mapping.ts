/**
 * What becomes of a record: which values go out, under which names, made how, checked how. Written inline in the conf or in a
 * mapping file; `compilePlan` turns it into one function for the fields of a file. Pure but for the functions of expressions; any thread.
 */
import { compileChecks, type Check } from './checks.js';
import { compileExpression, type Expression } from './expression.js';

export interface MappedColumn {
  /** Tag of the row XML. */
  readonly name: string;
  /** Source field, `$3`, or an expression. */
  readonly source: string;
}

export interface Mapping {
  /** Undefined: all fields of the file under their own names. */
  readonly columns: readonly MappedColumn[] | undefined;
  /** Checks by name of the column. */
  readonly checks: ReadonlyMap<string, string>;
  /** Only records for which all of these are true go out. */
  readonly filters: readonly string[];
}

/** The conf or the mapping file is wrong: files wait until it is mended. */
export class MappingError extends Error {
  override readonly name = 'MappingError';
}

/** The file has not the fields that the mapping needs. */
export class FieldsError extends Error {
  override readonly name = 'FieldsError';
}

const TAG = /^[A-Za-z_][\w.-]{0,99}$/;
const MAX_COLUMNS = 2_000;
/** Text without anything that an expression could be made of; a name in the language of the file's authors. */
const FIELD_NAME = /^[^\s"'`()+*/<>=!&|?:,[\]{}%$-][^"'`()+*/<>=!&|?:,[\]{}%]*$/u;
const WORDS = new Set(['true', 'false', 'null', '_line', '_file']);

/** The name of a field where the source is nothing else; undefined for an expression. */
export function fieldOf(source: string): string | undefined {
  const quoted = /^`([^`]+)`$/.exec(source)?.[1];
  if (quoted !== undefined) return quoted;
  if (/^\$\d{1,5}$/.test(source)) return source;
  if (WORDS.has(source) || /^[\d.]/.test(source)) return undefined;
  return FIELD_NAME.test(source) ? source : undefined;
}

/** Pieces between commas, without those in quotes and brackets. */
const PIECES =
  /(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\((?:[^()"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\([^()]*\))*\)|[^,])+/g;

/** @param columns `name` or `name:source`, between commas; empty: all fields */
export function inlineColumns(columns: string): readonly MappedColumn[] | undefined {
  const pieces = columns.match(PIECES)?.filter((piece) => piece.trim() !== '') ?? [];
  if (pieces.length === 0) return undefined;
  return pieces.map((text) => {
    const colon = text.indexOf(':');
    const name = (colon < 0 ? text : text.slice(0, colon)).trim();
    return { name, source: colon < 0 ? name : text.slice(colon + 1).trim() };
  });
}

/**
 * A mapping file: sections `[columns]` and `[checks]` with `name = ...` lines, `[filter]` with a condition on each line; `#` begins a
 * comment line. @throws MappingError with the line's number
 */
export function parseMapping(text: string): Mapping {
  const columns: MappedColumn[] = [];
  const checks = new Map<string, string>();
  const filters: string[] = [];
  let section = 'columns';
  const lines = text.replace(/^\ufeff/, '').split('\n');
  for (const [i, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const wrong = (reason: string): MappingError => new MappingError(`line ${i + 1}: ${reason}`);
    const title = /^\[\s*(\w+)\s*\]$/.exec(line)?.[1];
    if (title !== undefined) {
      if (!['columns', 'checks', 'filter'].includes(title)) {
        throw wrong(`there is no section [${title}]; there are [columns], [checks] and [filter]`);
      }
      section = title;
    } else if (section === 'filter') filters.push(line);
    else {
      const equals = line.indexOf('=');
      const name = (equals < 0 ? line : line.slice(0, equals)).trim();
      const value = equals < 0 ? '' : line.slice(equals + 1).trim();
      if (section === 'checks') {
        if (checks.has(name)) throw wrong(`${name} has its checks twice`);
        checks.set(name, value);
      } else columns.push({ name, source: value === '' ? name : value });
      if (columns.length > MAX_COLUMNS) throw wrong(`more than ${MAX_COLUMNS} columns`);
    }
  }
  const mapping = { columns: columns.length === 0 ? undefined : columns, checks, filters };
  checkMapping(mapping);
  return mapping;
}

/** What can be said without a file. @throws MappingError */
export function checkMapping(mapping: Mapping): void {
  const names = mapping.columns?.map(({ name }) => name) ?? [];
  for (const [i, name] of names.entries()) {
    if (!TAG.test(name)) throw new MappingError(`"${name}" cannot be the name of an XML tag`);
    if (names.indexOf(name) !== i) throw new MappingError(`the column ${name} is there twice`);
  }
  for (const name of mapping.checks.keys()) {
    if (mapping.columns !== undefined && !names.includes(name)) {
      throw new MappingError(`checks for ${name}, which is no column; columns: ${names.join(', ')}`);
    }
  }
  attempt(() => {
    for (const text of mapping.checks.values()) compileChecks(text);
    for (const { source } of mapping.columns ?? []) {
      if (fieldOf(source) === undefined) compileExpression(source, { file: '', condition: false });
    }
    for (const text of mapping.filters) compileExpression(text, { file: '', condition: true });
  });
}

/** Every field that the mapping reads; undefined when it takes all. @throws MappingError */
export function wantedFields(mapping: Mapping): readonly string[] | undefined {
  if (mapping.columns === undefined) return undefined;
  const found = new Set<string>();
  const add = (text: string, condition: boolean): void => {
    const { fields } = compileExpression(text, { file: '', condition });
    for (const name of fields) found.add(name);
  };
  attempt(() => {
    for (const { source } of mapping.columns ?? []) {
      const field = fieldOf(source);
      if (field === undefined) add(source, false);
      else found.add(field);
    }
    for (const text of mapping.filters) add(text, true);
  });
  return [...found].filter((name) => !name.startsWith('$'));
}

export interface Plan {
  /** Tags in output order. */
  readonly columns: readonly string[];
  /**
   * @param out gets one value for each column. @returns undefined when the record goes out, '' when a filter keeps it back, else why it
   * is rejected
   */
  apply(values: readonly (string | undefined)[], line: number, out: string[]): string | undefined;
}

/** @throws FieldsError when the file lacks a field. @throws MappingError when the mapping cannot work with any file */
export function compilePlan(mapping: Mapping, fields: readonly string[], file: string): Plan {
  const columns = mapping.columns ?? fields.map((name) => ({ name, source: `\`${name}\`` }));
  const unfit = columns.find(({ name }) => !TAG.test(name));
  if (unfit !== undefined) {
    throw new FieldsError(
      `"${unfit.name}" cannot be the name of an XML tag: name the columns in the mapping`,
    );
  }
  const position = (name: string, user: string): number => {
    const at = name.startsWith('$') ? Number(name.slice(1)) - 1 : fields.indexOf(name);
    if (at >= 0 && at < fields.length) return at;
    const found = fields.join(', ');
    const shown = found.length > 500 ? `${found.slice(0, 500)}...` : found;
    throw new FieldsError(`${user} needs the field ${name}, which the file does not have; found: ${shown}`);
  };
  const compile = (text: string, condition: boolean, user: string): Bound => {
    const expression = attempt(() => compileExpression(text, { file, condition }));
    return { expression, places: expression.fields.map((name) => position(name, user)) };
  };
  const makers = columns.map(({ name, source }): Maker => {
    const field = fieldOf(source);
    if (field !== undefined) return { at: position(field, `column ${name}`), bound: undefined };
    return { at: -1, bound: compile(source, false, `column ${name}`) };
  });
  const filters = mapping.filters.map((text) => compile(text, true, 'the filter'));
  const checks = columns.map(({ name }): Check | undefined => {
    const text = mapping.checks.get(name);
    return text === undefined ? undefined : attempt(() => compileChecks(text));
  });
  return { columns: columns.map(({ name }) => name), apply: applier(columns, makers, checks, filters) };
}

/** An expression, and where the fields it reads stand in the records of this file. */
interface Bound {
  readonly expression: Expression;
  readonly places: readonly number[];
}

interface Maker {
  /** Position of a field that is copied; -1: it is computed. */
  readonly at: number;
  readonly bound: Bound | undefined;
}

function applier(
  columns: readonly MappedColumn[],
  makers: readonly Maker[],
  checks: readonly (Check | undefined)[],
  filters: readonly Bound[],
): Plan['apply'] {
  return (values, line, out) => {
    try {
      for (const { expression, places } of filters) if (!expression.test(values, places, line)) return '';
      for (let i = 0; i < makers.length; i++) {
        const maker = makers[i];
        if (maker === undefined) continue;
        const { at, bound } = maker;
        const value =
          bound === undefined ? (values[at] ?? '') : bound.expression.evaluate(values, bound.places, line);
        const reason = checks[i]?.(value);
        if (reason !== undefined) return `${columns[i]?.name} ${reason}`;
        out[i] = value;
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
}

function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new MappingError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
