/**
 * Words of a start script as sh would see them, with their line: quotes, backslashes, continuation lines, comments, simple
 * assignments. Nothing is executed; what needs a running shell stays as it is written. Pure.
 */

export interface ShellCommand {
  /** Without assignments and redirections. */
  readonly words: readonly string[];
  /** Where it begins, from 1. */
  readonly line: number;
  /** What could not be done without a shell: a variable, a substitution. */
  readonly doubts: readonly string[];
}

const MAX_SCRIPT_CHARS = 1 << 20;
/** Ends a command. */
const SEPARATORS = /^(?:;|&&?|\|\|?|\n)/;
const REDIRECTION = /^\d*(?:>>?|<)(?:&\d|&-)?/;

/** @throws RangeError for a script that is too long or a quote that is never closed */
export function shellCommands(script: string, firstLine = 1): ShellCommand[] {
  if (script.length > MAX_SCRIPT_CHARS)
    throw new RangeError(`the script is longer than ${MAX_SCRIPT_CHARS} characters`);
  return new Reader(script, firstLine).commands();
}

class Reader {
  private at = 0;
  private line: number;
  private readonly variables = new Map<string, string>();
  private doubts: string[] = [];

  constructor(
    private readonly text: string,
    firstLine: number,
  ) {
    this.line = firstLine;
  }

  commands(): ShellCommand[] {
    const all: ShellCommand[] = [];
    let words: string[] = [];
    let line = this.line;
    const end = (): void => {
      while (words[0] !== undefined && this.assign(words[0], words.length === 1)) words.shift();
      if (words.length > 0) all.push({ words, line, doubts: this.doubts });
      words = [];
      this.doubts = [];
    };
    while (this.at < this.text.length) {
      const rest = this.text.slice(this.at, this.at + 20);
      const redirection = REDIRECTION.exec(rest)?.[0];
      const separator = SEPARATORS.exec(rest)?.[0];
      if (/^[ \t\r]/.test(rest)) this.at++;
      else if (rest.startsWith('\\\n') || rest.startsWith('\\\r\n')) this.newLine(rest.indexOf('\n') + 1);
      else if (rest.startsWith('#')) this.skipComment();
      else if (separator !== undefined) {
        end();
        if (separator === '\n') this.newLine(1);
        else this.at += separator.length;
      } else if (redirection !== undefined) {
        this.at += redirection.length;
        // Its target is the next word, unless it was a copy of another one.
        if (!redirection.includes('&')) this.skipBlanks();
        if (!redirection.includes('&')) this.word();
      } else {
        if (words.length === 0) line = this.line;
        words.push(this.word());
      }
    }
    end();
    return all;
  }

  private newLine(length: number): void {
    this.at += length;
    this.line++;
  }

  private skipComment(): void {
    const end = this.text.indexOf('\n', this.at);
    this.at = end < 0 ? this.text.length : end;
  }

  private skipBlanks(): void {
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at++;
  }

  /** `NAME=value` before a command; alone on its line it is remembered. */
  private assign(word: string, alone: boolean): boolean {
    const [, name, value = ''] = /^([A-Za-z_]\w*)=([^]*)$/.exec(word) ?? [];
    if (name === undefined) return false;
    if (alone) this.variables.set(name, value);
    return true;
  }

  private word(): string {
    let word = '';
    for (;;) {
      const c = this.text[this.at];
      if (c === undefined || /[\s;&|<>]/.test(c)) return word;
      this.at++;
      if (c === "'") word += this.quoted("'");
      else if (c === '"') word += this.quoted('"');
      else if (c === '\\') {
        const next = this.text[this.at++] ?? '';
        if (next === '\n') this.line++;
        else word += next;
      } else word += c === '$' ? this.variable() : c === '`' ? this.doubt('`', 'a command substitution') : c;
    }
  }

  private quoted(quote: string): string {
    const from = this.line;
    let text = '';
    for (;;) {
      const c = this.text[this.at++];
      if (c === undefined) throw new RangeError(`line ${from}: the quote ${quote} is never closed`);
      if (c === quote) return text;
      if (c === '\n') this.line++;
      if (quote === '"' && c === '\\') {
        const next = this.text[this.at++] ?? '';
        if (next === '\n') this.line++;
        else text += /[$`"\\]/.test(next) ? next : `\\${next}`;
      } else text += quote === '"' && c === '$' ? this.variable() : c;
    }
  }

  /** Behind the $. */
  private variable(): string {
    const match = /^(?:\{(\w+)\}|([A-Za-z_]\w*))/.exec(this.text.slice(this.at, this.at + 80));
    if (match === null) {
      const next = this.text[this.at] ?? '';
      return next === '(' || next === '{' ? this.doubt('$', 'a substitution') : '$';
    }
    this.at += match[0].length;
    const name = match[1] ?? match[2] ?? '';
    return this.variables.get(name) ?? this.doubt(`$${match[0]}`, `the variable ${name}`);
  }

  private doubt(text: string, what: string): string {
    this.doubts.push(`${what} is left as it is written`);
    return text;
  }
}
