/**
 * A file of SQL cut into its statements, as the database's own client would cut it: strings, quoted names and comments are seen
 * through, and so are the bodies of procedures and triggers. Pure; any thread.
 *
 * | dialect | a statement ends at |
 * |---|---|
 * | mysql | `;`, or what `DELIMITER` says |
 * | postgres | `;` outside of brackets, dollar quotes and BEGIN ATOMIC ... END |
 * | sqlite | `;`, of a trigger the one behind END |
 * | oracle | `;`, of PL/SQL a line with nothing but `/` |
 * | mssql | a line with nothing but `GO`, and a number of times if one likes |
 */

export interface SqlStatement {
  /** Without what ends it, and without comments in front of it. */
  readonly text: string;
  /** Where it begins, from 1. */
  readonly line: number;
}

/** The text ends inside of a string, name or comment, or a statement is too long. */
export class SqlSplitError extends Error {
  constructor(
    message: string,
    /** From 1. */
    readonly line: number,
  ) {
    super(`line ${line}: ${message}`);
    this.name = 'SqlSplitError';
  }
}

const MAX_STATEMENT = 16 << 20;
const MAX_REPEATS = 1_000;
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const NUMBER = /\d[\w.]*/y;
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const DELIMITER = /[ \t]*delimiter(?:[ \t]+(\S+))?[^\n]*/iy;
const GO = /[ \t]*go(?:[ \t]+(\d{1,9}))?[ \t]*(?:--[^\n]*)?\r?(?=\n|$)/iy;
const SLASH = /[ \t]*\/[ \t]*\r?(?=\n|$)/y;
/** Lines of Oracle's client that are no SQL. */
const CLIENT_LINE =
  /[ \t]*(?:rem|remark|prompt|spool|whenever|define|undefine|show|column|pause|set[ \t]+(?!role\b|transaction\b|constraints?\b))\b[^\n]*/iy;
const EXIT_LINE = /[ \t]*(?:exit|quit)\b[^\n]*/iy;
const PLSQL =
  /^(?:BEGIN|DECLARE|CREATE (?:OR REPLACE )?(?:(?:NON)?EDITIONABLE )?(?:FUNCTION|PROCEDURE|PACKAGE|TRIGGER|TYPE)\b)/;
const TRIGGER = /^CREATE (?:TEMP |TEMPORARY )?TRIGGER\b/;
const ROUTINE = /^CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b/;
/** So many words tell what a statement is. */
const KEPT_WORDS = 6;
const ORACLE_CLOSERS: Readonly<Record<string, string>> = { '[': ']', '(': ')', '{': '}', '<': '>' };

/** @throws SqlSplitError when it comes to the place; what was before it is good */
export function* splitSql(text: string, dialect: string): Generator<SqlStatement> {
  yield* new Splitter(text, dialect).statements();
}

class Splitter {
  private at = 0;
  private line = 1;
  private delimiter: string;
  /** Where the statement begins; -1 between two. */
  private start = -1;
  private startLine = 1;
  private words = '';
  private wordCount = 0;
  private parens = 0;
  private depth = 0;
  /** The last two tokens that are not blank: `;` and END end a trigger. */
  private last = '';
  private beforeLast = '';

  constructor(
    private readonly text: string,
    private readonly dialect: string,
  ) {
    this.delimiter = dialect === 'mssql' ? '' : ';';
    if (text.startsWith('\ufeff')) this.at = 1;
  }

  *statements(): Generator<SqlStatement> {
    const { text } = this;
    while (this.at < text.length) {
      if (this.at === 0 || text[this.at - 1] === '\n' || (this.at === 1 && text.startsWith('\ufeff'))) {
        const times = this.clientLine();
        if (times === 'end') break;
        if (times !== undefined) {
          const done = this.finish(this.at - times.length);
          for (let i = 0; done !== undefined && i < times.count; i++) yield done;
          continue;
        }
      }
      if (this.start >= 0 && this.at - this.start > MAX_STATEMENT)
        throw new SqlSplitError(`the statement is longer than ${MAX_STATEMENT} characters`, this.startLine);
      if (this.atDelimiter()) {
        const done = this.finish(this.at);
        this.at += this.delimiter.length;
        if (done !== undefined) yield done;
      } else {
        this.token();
      }
    }
    const done = this.finish(this.at);
    if (done !== undefined) yield done;
  }

  /** A line for the client program. @returns how often what stands before it is to be run, and the length of the line */
  private clientLine(): { count: number; length: number } | 'end' | undefined {
    const { dialect, start } = this;
    if (dialect === 'mssql') {
      const go = this.match(GO);
      if (go !== undefined) return this.passed(go[0], Math.min(Number(go[1] ?? 1), MAX_REPEATS));
    }
    if (dialect === 'oracle') {
      const slash = this.match(SLASH);
      if (slash !== undefined) return this.passed(slash[0], 1);
      if (start < 0 && this.match(EXIT_LINE) !== undefined) return 'end';
      const line = start < 0 ? this.match(CLIENT_LINE) : undefined;
      if (line !== undefined) return this.passed(line[0], 0);
    }
    if (dialect === 'mysql' && start < 0) {
      const line = this.match(DELIMITER);
      if (line !== undefined) {
        const wanted = line[1];
        if (wanted === undefined || /['"`\\#]|^--|^\/\*/.test(wanted))
          throw new SqlSplitError(
            'DELIMITER needs characters that begin no string, name or comment',
            this.line,
          );
        this.delimiter = wanted;
        return this.passed(line[0], 0);
      }
    }
    return undefined;
  }

  private passed(text: string, count: number): { count: number; length: number } {
    this.at += text.length;
    return { count, length: text.length };
  }

  private match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text) ?? undefined;
  }

  private atDelimiter(): boolean {
    if (this.delimiter === '' || !this.text.startsWith(this.delimiter, this.at)) return false;
    switch (this.dialect) {
      case 'oracle':
        return !PLSQL.test(this.words);
      case 'sqlite':
        return !TRIGGER.test(this.words) || (this.last === 'END' && this.beforeLast === ';');
      case 'postgres':
        return this.parens <= 0 && this.depth <= 0;
      default:
        return true;
    }
  }

  private token(): void {
    const { text, at } = this;
    const char = text.charAt(at);
    if (char === '\n') this.line++;
    if (/\s/.test(char)) {
      this.at++;
      return;
    }
    const comment = this.commentEnd();
    if (comment !== undefined) {
      // The server executes what stands in /*! ... */.
      if (this.dialect === 'mysql' && /^\/\*M?!/.test(text.slice(at, at + 4))) this.begin();
      this.advance(comment);
      return;
    }
    this.begin();
    const quoted = this.quotedEnd();
    if (quoted !== undefined) {
      this.advance(quoted);
      this.seen('quoted');
      return;
    }
    const word = this.match(WORD)?.[0];
    if (word !== undefined) {
      this.at += word.length;
      this.word(word.toUpperCase());
      return;
    }
    this.at += this.match(NUMBER)?.[0].length ?? 1;
    if (char === '(') this.parens++;
    if (char === ')') this.parens--;
    this.seen(char);
  }

  private word(word: string): void {
    if (this.wordCount < KEPT_WORDS) {
      this.words += (this.wordCount === 0 ? '' : ' ') + word;
      this.wordCount++;
    }
    if (this.dialect === 'postgres' && ROUTINE.test(this.words)) {
      if (word === 'ATOMIC' && this.last === 'BEGIN') this.depth++;
      else if (word === 'CASE' && this.depth > 0) this.depth++;
      else if (word === 'END' && this.depth > 0) this.depth--;
    }
    this.seen(word);
  }

  private seen(token: string): void {
    this.beforeLast = this.last;
    this.last = token;
  }

  private begin(): void {
    if (this.start >= 0) return;
    this.start = this.at;
    this.startLine = this.line;
  }

  private finish(end: number): SqlStatement | undefined {
    const { start, startLine: line } = this;
    this.start = -1;
    this.words = '';
    this.wordCount = this.parens = this.depth = 0;
    this.last = this.beforeLast = '';
    if (start < 0) return undefined;
    const text = this.text.slice(start, end).trimEnd();
    return text === '' ? undefined : { text, line };
  }

  private advance(end: number): void {
    const passed = this.text.slice(this.at, end);
    for (let at = passed.indexOf('\n'); at >= 0; at = passed.indexOf('\n', at + 1)) this.line++;
    this.at = end;
  }

  private commentEnd(): number | undefined {
    const { text, at, dialect } = this;
    if (text.startsWith('--', at)) {
      // MySQL wants a blank behind it: 1--1 is a sum.
      if (dialect !== 'mysql' || /^(?:\s|$)/.test(text.charAt(at + 2))) return this.lineEnd();
    }
    if (text.charAt(at) === '#' && dialect === 'mysql') return this.lineEnd();
    if (!text.startsWith('/*', at)) return undefined;
    const nests = dialect === 'postgres' || dialect === 'mssql';
    const marks = nests ? /\/\*|\*\//g : /\*\//g;
    marks.lastIndex = at + 2;
    for (let open = 1; ;) {
      const mark = marks.exec(text);
      if (mark === null) {
        // SQLite takes the end of the text for the end of the comment.
        if (dialect === 'sqlite') return text.length;
        throw new SqlSplitError('the comment is not closed', this.line);
      }
      open += mark[0] === '/*' ? 1 : -1;
      if (open === 0) return marks.lastIndex;
    }
  }

  private lineEnd(): number {
    const end = this.text.indexOf('\n', this.at);
    return end < 0 ? this.text.length : end;
  }

  /** @returns where the string or quoted name that begins here ends */
  private quotedEnd(): number | undefined {
    const { text, at, dialect } = this;
    const char = text.charAt(at);
    const mysql = dialect === 'mysql';
    if (char === "'") return this.quoteEnd(at, "'", mysql);
    if (char === '"') return this.quoteEnd(at, '"', mysql);
    if (char === '`' && (mysql || dialect === 'sqlite')) return this.quoteEnd(at, '`', false);
    if (char === '[' && (dialect === 'mssql' || dialect === 'sqlite')) return this.quoteEnd(at, ']', false);
    if (dialect === 'postgres') {
      if (/[eE]/.test(char) && text.charAt(at + 1) === "'") return this.quoteEnd(at + 1, "'", true);
      const tag = this.match(DOLLAR)?.[0];
      if (tag !== undefined) return this.closing(tag, at + tag.length);
    }
    if (dialect === 'oracle') {
      const [head = ''] = /^n?q'/i.exec(text.slice(at, at + 3)) ?? [];
      const open = text.charAt(at + head.length);
      if (head !== '' && open !== '')
        return this.closing(`${ORACLE_CLOSERS[open] ?? open}'`, at + head.length + 1);
    }
    return undefined;
  }

  private closing(mark: string, from: number): number {
    const end = this.text.indexOf(mark, from);
    if (end < 0) throw new SqlSplitError(`the quote is not closed by ${mark}`, this.line);
    return end + mark.length;
  }

  /** A doubled quote stands for itself, also in the eyes of this: the string just goes on with the next one. */
  private quoteEnd(open: number, close: string, backslash: boolean): number {
    const { text } = this;
    const mark = backslash ? new RegExp(`[\\\\${close}]`, 'g') : undefined;
    for (let at = open + 1; ;) {
      if (mark !== undefined) mark.lastIndex = at;
      const end = mark === undefined ? text.indexOf(close, at) : (mark.exec(text)?.index ?? -1);
      if (end < 0) throw new SqlSplitError(`the quote is not closed by ${close}`, this.line);
      if (text.charAt(end) === close) return end + 1;
      at = end + 2;
    }
  }
}
