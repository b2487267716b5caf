/**
 * Which file goes into which table: from the conf, or from the reference's rule file (spec data-centre 8.1), which is looked
 * at before each scan. Worker thread.
 */
import { readFile, stat } from 'node:fs/promises';
import { nameMatcher } from '../../../protocol/match-name.js';
import { RowXmlReader } from '../../../protocol/rowxml.js';
import { reasonOf } from '../../../runtime/errors.js';
import type { Logger } from '../../../runtime/log-contract.js';
import type { LoadSettings } from './keys.js';
import { isRetryable, StageError, type StageEnv } from '../stage/run.js';

export interface LoadRule {
  /** @param name without the ending .gz */
  readonly matches: (name: string) => boolean;
  readonly table: string;
  readonly mode: 'insert' | 'upsert';
  readonly beforeSql: string | undefined;
}

const MAX_BYTES = 1 << 20;
const MAX_RULES = 1_000;
/** A change that left size and time of the file as they were is noticed after so many scans. */
const SCANS = 32;

/** @throws StageError saying the line */
export function parseRules(text: string, file: string): LoadRule[] {
  const rules: LoadRule[] = [];
  const fail = (line: number, reason: string): never => {
    throw new StageError(`${file}:${line}: ${reason}`, false);
  };
  // Line ends stay, so that lines can be counted.
  const plain = text.replace(/<!--(?:(?!-->)[^])*-->/g, (comment) => comment.replace(/[^\n]/g, ''));
  const reader = new RowXmlReader(['filename', 'tname', 'uptbz', 'execsql'], {
    row(values, line) {
      const [filename = '', tname = '', uptbz = '', execsql = ''] = values.map((value) => value?.trim());
      if (filename === '') fail(line, 'the rule has no <filename>');
      if (tname === '') fail(line, 'the rule has no <tname>');
      rules.push({
        matches: nameMatcher(filename),
        table: tname,
        mode: Number.parseInt(uptbz, 10) === 1 ? 'upsert' : 'insert',
        beforeSql: execsql === '' ? undefined : execsql,
      });
      if (rules.length > MAX_RULES) fail(line, `more than ${MAX_RULES} rules`);
    },
    bad: ({ line, reason }) => fail(line, reason),
  });
  reader.push(plain);
  reader.end();
  if (rules.length === 0) throw new StageError(`${file} has no rule: records that end with <endl/>`, false);
  return rules;
}

export class RuleFile {
  private rules: readonly LoadRule[] | undefined;
  private text: string | undefined;
  private stamp = '';
  private scans = 0;
  /** The complaint made last: it is not repeated at each scan. */
  private told = '';

  constructor(
    private readonly path: string,
    private readonly log: Logger,
  ) {}

  /**
   * The rules of the moment. A new rule file that is broken or gone leaves the old rules in force, with an error line.
   * @throws StageError when there are no old ones
   */
  async current(): Promise<readonly LoadRule[]> {
    try {
      const info = await stat(this.path);
      const stamp = `${info.mtimeMs} ${info.size} ${info.ino}`;
      if (this.rules !== undefined && stamp === this.stamp && ++this.scans < SCANS) return this.rules;
      if (info.size > MAX_BYTES)
        throw new StageError(`${this.path} is larger than ${MAX_BYTES} bytes`, false);
      const text = await readFile(this.path, 'utf8');
      this.scans = 0;
      this.stamp = stamp;
      if (text === this.text && this.rules !== undefined) return this.rules;
      this.text = text;
      const rules = parseRules(text, this.path);
      if (this.rules !== undefined)
        this.log.notice('load.new-rules', { file: this.path, rules: rules.length });
      this.rules = rules;
      return rules;
    } catch (error) {
      if (this.rules === undefined) {
        if (error instanceof StageError) throw error;
        const text = `the rule file ${this.path} cannot be read: ${reasonOf(error)}`;
        throw new StageError(text, isRetryable(error), { cause: error });
      }
      const reason = reasonOf(error);
      if (reason !== this.told)
        this.log.error('load.bad-rules', { file: this.path, reason, kept: 'the old rules' });
      this.told = reason;
      return this.rules;
    }
  }
}

/** The rules of a stage, asked for before each scan. @throws StageError when the conf has no or two ways to find a table */
export function rulesOf(settings: LoadSettings, env: StageEnv): () => Promise<readonly LoadRule[]> {
  const { rules, table, mode, before_sql: beforeSql } = settings;
  if ((rules === undefined) === (table === undefined))
    throw new StageError('either rules or table is needed, and not both', false);
  if (table !== undefined) {
    const rule: LoadRule = {
      matches: () => true,
      table,
      mode,
      beforeSql: beforeSql === '' ? undefined : beforeSql,
    };
    return async () => [rule];
  }
  const file = new RuleFile(rules ?? '', env.log);
  return () => file.current();
}
