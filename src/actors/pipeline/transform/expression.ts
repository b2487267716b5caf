/**
 * Expressions of a mapping: CEL, which has neither loops without end nor a way to the outside. Its macros over lists are not allowed here,
 * so the cost of an expression is bounded by its length and the text it works on. Pure; any thread.
 */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { functions, MAX_TEXT } from './functions.js';

/** Values by field name; the same object may be used for each record. */
export type Context = Record<string, unknown>;

type Values = readonly (string | undefined)[];

export interface Expression {
  /** Names of the fields it reads. */
  readonly fields: readonly string[];
  /**
   * @param values of a record. @param places where in it each of `fields` stands; one that is missing is empty
   * @throws ExpressionError that says what went wrong
   */
  evaluate(values: Values, places: readonly number[], line: number): string;
  /** For conditions. */
  test(values: Values, places: readonly number[], line: number): boolean;
}

export interface ExpressionOptions {
  /** Name of the file, for `_file`. */
  readonly file: string;
  /** The result must be true or false. */
  readonly condition: boolean;
}

/** `"text"`, `'text'`, a name in back quotes, `$3`. */
const TOKENS = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`([^`]+)`|\$(\d{1,5})/g;
const FORBIDDEN = new Set([
  'map',
  'filter',
  'all',
  'exists',
  'exists_one',
  'existsOne',
  'bind',
  'matches',
  'json',
  'join',
  'split',
]);
const RESULTS = new Set(['string', 'int', 'uint', 'double', 'bool', 'dyn', 'null', 'null_type']);
const LIMITS = {
  maxAstNodes: 300,
  maxDepth: 32,
  maxListElements: 100,
  maxMapEntries: 1,
  maxCallArguments: 5,
};

/** What is wrong with the text itself; what it needs may still be missing. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
}

/** Every name in it is taken for a field, a text. @throws ExpressionError for what is no expression, or has wrong types */
export function compileExpression(text: string, options: ExpressionOptions): Expression {
  const names: string[] = [];
  const place = (name: string): string => {
    const known = names.indexOf(name);
    return `_v${known >= 0 ? known : names.push(name) - 1}`;
  };
  const plain = text.replace(TOKENS, (token, quoted?: string, position?: string) => {
    if (quoted !== undefined) return place(quoted);
    return position === undefined ? token : place(`$${position}`);
  });
  const identifiers = identifiersOf(plain).filter((name) => !/^_(?:v\d+|line|file)$/.test(name));
  const env = baseEnvironment();
  env.registerVariable('_line', 'int');
  env.registerVariable('_file', 'string');
  for (let i = 0; i < names.length; i++) env.registerVariable(`_v${i}`, 'string');
  for (const name of identifiers) {
    env.registerVariable(name, 'string');
    names.push(name);
  }
  const parsed = guarded(text, () => env.parse(plain));
  const checked = guarded(text, () => parsed.check());
  if (!checked.valid)
    throw new ExpressionError(`"${text}": ${checked.error?.summary ?? 'it is no expression'}`);
  const type = String(checked.type);
  if (options.condition && type !== 'bool')
    throw new ExpressionError(`"${text}" is ${type}, not true or false`);
  if (!RESULTS.has(type)) throw new ExpressionError(`"${text}" is ${type}, which is no text`);
  const keys = names.map((name, i) => (identifiers.includes(name) ? name : `_v${i}`));
  const context: Context = { _file: options.file };
  const usesLine = plain.includes('_line');
  const run = (values: Values, places: readonly number[], line: number): unknown => {
    for (let i = 0; i < keys.length; i++) context[keys[i] ?? ''] = values[places[i] ?? -1] ?? '';
    if (usesLine) context['_line'] = BigInt(line);
    try {
      return parsed(context);
    } catch (error) {
      throw new ExpressionError(`${shortText(text)}: ${summary(error)}`, { cause: error });
    }
  };
  return {
    fields: names,
    evaluate: (values, places, line) => asText(run(values, places, line), text),
    test: (values, places, line) => run(values, places, line) === true,
  };
}

/** @throws ExpressionError when it cannot be parsed or uses what is not allowed */
function identifiersOf(plain: string): readonly string[] {
  const found = new Set<string>();
  const parsed = guarded(plain, () => baseEnvironment(true).parse(plain));
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(walk);
    if (typeof value !== 'object' || value === null || !('op' in value)) return;
    const node = value as ASTNode;
    const args = node.args as unknown;
    if (node.op === 'id') found.add(args as string);
    else if (node.op === 'rcall' || node.op === 'call') {
      const [name, ...rest] = args as [string, ...unknown[]];
      if (FORBIDDEN.has(name)) {
        const hint = name === 'matches' ? '; use regex(text, pattern)' : '';
        throw new ExpressionError(`"${plain}": ${name} is not allowed here${hint}`);
      }
      // A macro's name is called on "cel", which is no field.
      rest.forEach(walk);
    } else if (node.op !== 'value') walk(args);
  };
  walk(parsed.ast);
  return [...found];
}

function baseEnvironment(anyVariable = false): Environment {
  const env = new Environment({ unlistedVariablesAreDyn: anyVariable, limits: LIMITS });
  for (const [signature, handler] of Object.entries(functions)) {
    env.registerFunction(signature, handler as (...args: unknown[]) => unknown);
  }
  return env;
}

function guarded<T>(text: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ExpressionError) throw error;
    throw new ExpressionError(`"${shortText(text)}" is no expression: ${summary(error)}`, { cause: error });
  }
}

function asText(value: unknown, text: string): string {
  switch (typeof value) {
    case 'string':
      if (value.length > MAX_TEXT) throw new ExpressionError(`${shortText(text)}: the text is too long`);
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw new ExpressionError(`${shortText(text)}: the result is no number`);
      return String(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      if (value === null || value === undefined) return '';
      throw new ExpressionError(`${shortText(text)}: the result is no text`);
  }
}

function summary(error: unknown): string {
  if (error instanceof Error && 'summary' in error && typeof error.summary === 'string') return error.summary;
  // The library draws the place of the error below the first line.
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

function shortText(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
