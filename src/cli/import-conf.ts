/** Translated jobs as conf text, with passwords in files of their own. Pure. */
import { writeValue } from '../runtime/config-reader.js';
import type { Keys } from '../runtime/schema.js';
import { shellCommands, type ShellCommand } from './import-shell.js';
import { baseName, hasPassword, translate, type Job, type KeysOf, type Section } from './import-jobs.js';

export interface ReportLine {
  readonly line: number;
  readonly text: string;
}

export interface Imported {
  readonly conf: string;
  /** File name below `secrets/` -> content. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly report: readonly ReportLine[];
  /** Lines that became sections, and those that did not. */
  readonly done: number;
  readonly left: number;
}

const HEAD = `# Made by switchyard import. Look at each section before it is used; report.txt says what was left out and why.\n`;
/** Programs that only start another one. */
const MAX_DEPTH = 4;

/** @param keysOf the keys of the types there are. @throws RangeError for a script that sh would not read either */
export function importScript(script: string, keysOf: KeysOf): Imported {
  const report: ReportLine[] = [];
  const blocks: string[] = [HEAD];
  const secrets = new Secrets();
  const names = new Set<string>();
  let done = 0;
  let left = 0;
  for (const { job, doubts } of jobs(shellCommands(script), report)) {
    const what = baseName(job);
    const say = (text: string): void => void report.push({ line: job.line, text: `${what}: ${text}` });
    const { sections, notes, later } = translate(job, keysOf);
    for (const section of sections) {
      const name = unique(section, names);
      blocks.push(render(section, name, job, secrets, keysOf));
      say(`-> [${section.kind} ${name}]`);
    }
    if (later !== undefined) {
      blocks.push(renderLater(job, later, secrets));
      say(`${later}; it stands in the conf as a comment`);
      left++;
    } else done++;
    for (const note of [...notes, ...doubts]) say(note);
  }
  report.sort((a, b) => a.line - b.line);
  return { conf: blocks.join('\n'), secrets: secrets.files, report, done, left };
}

/** The procctl lines, also those behind su -c, sh -c and nohup. */
function* jobs(
  commands: readonly ShellCommand[],
  report: ReportLine[],
  depth = 0,
): Generator<{ job: Job; doubts: readonly string[] }> {
  for (const { words, line, doubts } of commands) {
    const [first = '', ...rest] = words;
    const base = first.slice(first.lastIndexOf('/') + 1);
    const script = rest[rest.indexOf('-c') + 1];
    const say = (text: string): void => void report.push({ line, text: `${base}: ${text}` });
    if (base === 'procctl') {
      const [period = '', program, ...args] = rest;
      if (program === undefined || !/^\d{1,9}$/.test(period)) {
        say('left out: procctl takes a number of seconds and a program');
        continue;
      }
      if (period === '0') say('a pause of 0 s would run it without end: it is 1 s here');
      yield { job: { line, period: Math.max(1, Number(period)), program, args }, doubts };
    } else if (
      /^(su|sudo|sh|bash)$/.test(base) &&
      rest.includes('-c') &&
      script !== undefined &&
      depth < MAX_DEPTH
    ) {
      yield* jobs(shellCommands(script, line), report, depth + 1);
    } else if (/^(nohup|setsid|exec)$/.test(base) && depth < MAX_DEPTH) {
      yield* jobs([{ words: rest, line, doubts }], report, depth + 1);
    } else if (/^(sh|bash|\.|source)$/.test(base)) {
      say(`left out: import ${rest[0] ?? 'that script'} too, if it starts procctl`);
    } else {
      say('left out: it is not started by procctl');
    }
  }
}

function unique({ kind, name }: Section, names: Set<string>): string {
  const plain = name.replace(/[^\w.-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(0, 56) || kind; // prettier-ignore
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? plain : `${plain}-${n}`;
    if (names.has(`${kind} ${candidate}`)) continue;
    names.add(`${kind} ${candidate}`);
    return candidate;
  }
}

function render(section: Section, name: string, job: Job, secrets: Secrets, keysOf: KeysOf): string {
  const type = section.keys.find(([key]) => key === 'type')?.[1] ?? '';
  const keys: Keys = (section.kind === 'http' ? undefined : keysOf(section.kind, type)) ?? {};
  const lines = [`# line ${job.line}: ${comment(baseName(job))}`, `[${section.kind} ${name}]`];
  for (const [key, value] of section.keys) {
    // A file of SQLite has no password.
    const secret =
      (keys[key]?.type === 'secret' && !value.startsWith('sqlite:')) ||
      (key === 'command' && hasPassword(job));
    lines.push(
      `${key} = ${secret ? `file:secrets/${secrets.keep(`${name}-${key}`, value)}` : writeValue(value)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Its arguments may hold a password, so they are not in the comment. */
function renderLater(job: Job, why: string, secrets: Secrets): string {
  const name = `line-${job.line}-${baseName(job)}`;
  const file = secrets.keep(name, [job.program, ...job.args].join('\n'));
  const lines = [
    `line ${job.line}: ${comment(why)}; its arguments are in secrets/${file}`,
    `[stage ${comment(name)}]`,
    `type = ${comment(baseName(job))}`,
    `every = ${job.period}s`,
  ];
  return `${lines.map((line) => `# ${line}`).join('\n')}\n`;
}

/** Nothing in a comment may end its line. */
function comment(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.replace(/[\u0000-\u001f\u007f]/g, ' ');
}

class Secrets {
  readonly files = new Map<string, string>();

  /** @returns the name of the file; one for all places with the same value */
  keep(wanted: string, value: string): string {
    for (const [file, content] of this.files) if (content === value) return file;
    const plain = wanted.replace(/[^\w.-]+/g, '-');
    let file = plain;
    for (let n = 2; this.files.has(file); n++) file = `${plain}-${n}`;
    this.files.set(file, value);
    return file;
  }
}
