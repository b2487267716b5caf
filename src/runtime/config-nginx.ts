/**
 * The packet server's own `nginx.conf`, accepted as it is (spec packet-server 9): keys compared without case,
 * sections ignored, the first occurrence wins, integers as C's atoi reads them. Its keys are found by the `aliases`
 * of the declared keys and become entries of the same sections a conf of ours would have. Any thread.
 */
import {
  confError,
  confLines,
  confNote,
  decodeUtf8,
  type ConfEntry,
  type ConfProblem,
  type ConfText,
  type Place,
} from './config-reader.js';
import { nearest } from './nearest.js';
import type { KeySpec, SectionSpec } from './schema.js';

interface Line {
  readonly key: string;
  readonly value: string;
  readonly place: Place;
}

/** Their levels 1 to 8, most important first; 0 is stderr only. */
const levels = ['fatal', 'fatal', 'fatal', 'fatal', 'error', 'warn', 'notice', 'info', 'debug'] as const;

/** Keys that mean nothing here, and why. The value is never repeated: DBInfo holds a password. */
const withoutMeaning = new Map([
  ['workerprocesses', 'one process does the work; worker_connections is multiplied by it'],
  ['procmsgrecvworkthreadcount', 'handlers do not block a thread; [pool NAME] workers sets the threads'],
  ['procmsgsendworkthreadcount', 'sending needs no threads'],
  ['sock_recyconnectionwaittime', 'a closed connection is never mistaken for a new one, so nothing waits'],
  ['dbinfo', 'the reference does not read it either; stores have their own section'],
  ['video_path', 'the web server of this file is served by an http listener'],
]);

/** @returns whether it is that file: by its name, or because it sets ListenPortCount or a numbered port. */
export function isNginxConf(file: string, content: Uint8Array): boolean {
  if (/(^|[\\/])nginx\.conf$/i.test(file)) return true;
  return /^\s*listenport(count|\d+)\s*=/im.test(Buffer.from(content).toString('latin1'));
}

/** C's atoi: leading digits, 0 for anything else. */
export function atoi(text: string): number {
  const value = Number.parseInt(text, 10);
  return Number.isNaN(value) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, value));
}

/** Never throws. Listeners are named `packet`, or `packet-0`, `packet-1`, ... when there are several ports. */
export function readNginxConf(file: string, content: Uint8Array, sections: readonly SectionSpec[]): ConfText {
  const problems: ConfProblem[] = [];
  const lines = readLines(file, content, problems);
  const ports = listenPorts(file, lines, problems);
  const processes = Math.max(1, atoi(lines.get('workerprocesses')?.value ?? '1'));
  const perSection = new Map<string, ConfEntry[]>();
  for (const [lower, line] of lines) {
    if (/^listenport(count|\d*)$/.test(lower)) continue;
    const target = findAlias(lower, sections);
    if (target !== undefined) {
      const text = convert(lower, line.value, target.spec, processes);
      const entry = { kind: 'key', key: target.key, text, quoting: 'single', place: line.place } as const;
      perSection.set(target.section, [...(perSection.get(target.section) ?? []), entry]);
    } else {
      const near = nearest(line.key, knownNames(sections));
      const why =
        withoutMeaning.get(lower) ?? `not a key of this file${near ? `, did you mean ${near}?` : ''}`;
      problems.push(confNote(line.place, `${line.key} has no effect: ${why}`));
    }
  }
  const shared = perSection.get('listener') ?? [];
  perSection.delete('listener');
  const entries: ConfEntry[] = [];
  for (const [section, own] of perSection) entries.push(sectionEntry(section, '', own[0]), ...own);
  for (const [index, port] of ports.entries()) {
    const key = (name: string, text: string): ConfEntry => ({
      kind: 'key', key: name, text, quoting: 'single', place: port.place,
    }); // prettier-ignore
    const head = key('protocol', 'packet');
    const name = ports.length === 1 ? 'packet' : `packet-${index}`;
    if (index === 0 && sections.some(({ section }) => section === 'actor')) {
      // The file alone must be enough to run the server.
      entries.push(sectionEntry('actor', 'packet', head), key('type', 'packet'));
    }
    // With several ports the listeners have numbers; the frames of all go to the one actor.
    entries.push(
      sectionEntry('listener', name, head),
      head,
      key('address', String(atoi(port.value))),
      ...shared,
    );
  }
  return { entries, problems };
}

function sectionEntry(section: string, name: string, first: ConfEntry | undefined): ConfEntry {
  return { kind: 'section', section, name, place: first?.place ?? { file: '', line: 0 } };
}

/** First occurrence of each key, by lower-case key. */
function readLines(file: string, content: Uint8Array, problems: ConfProblem[]): Map<string, Line> {
  // Comments in these files are often Chinese in GBK; keys and values are ASCII.
  const text = decodeUtf8(content) ?? new TextDecoder('gbk').decode(content);
  const lines = new Map<string, Line>();
  for (const { text: line, place } of confLines(file, text, problems)) {
    if (/^[ \t]+\S+.*=/.test(line))
      problems.push(confNote(place, 'a line that starts with a blank is ignored'));
    if (line === '' || /^[#;[ \t]/.test(line)) continue;
    const equals = line.indexOf('=');
    const key = line.slice(0, Math.max(0, equals)).trim();
    if (key === '') {
      problems.push(confNote(place, 'a line without key = value is ignored'));
      continue;
    }
    const earlier = lines.get(key.toLowerCase());
    if (earlier !== undefined) {
      problems.push(confNote(place, `${key} is ignored: line ${earlier.place.line} set it first`));
      continue;
    }
    lines.set(key.toLowerCase(), { key, value: line.slice(equals + 1).trim(), place });
  }
  return lines;
}

/** Weakness 30: the reference listens on 10000 for each missing ListenPortN; here that is an error. */
function listenPorts(file: string, lines: Map<string, Line>, problems: ConfProblem[]): Line[] {
  const ports: Line[] = [];
  const count = lines.get('listenportcount');
  const single = lines.get('listenport');
  const wanted = count === undefined ? 1 : atoi(count.value);
  if (wanted < 1 || wanted > 1024) {
    const reason = `must be 1 to 1024, got ${wanted}`;
    const place = count?.place ?? { file, line: 0 };
    problems.push(confError('CONF_VALUE', place, { key: 'ListenPortCount', reason, help: 'how many ports' }));
    return ports;
  }
  if (count === undefined && single !== undefined && !lines.has('listenport0')) return [single];
  for (let index = 0; index < wanted; index++) {
    const port = lines.get(`listenport${index}`);
    if (port !== undefined) {
      ports.push(port);
      continue;
    }
    const place = count?.place ?? { file, line: 0 };
    problems.push(confError('CONF_LISTEN_PORT', place, { count: wanted, key: `ListenPort${index}` }));
  }
  for (const [lower, line] of lines) {
    const index = Number(/^listenport(\d+)$/.exec(lower)?.[1] ?? -1);
    if (index >= wanted) {
      problems.push(confNote(line.place, `${line.key} has no effect: ListenPortCount is ${wanted}`));
    }
  }
  return ports;
}

function findAlias(
  lower: string,
  sections: readonly SectionSpec[],
): { section: string; key: string; spec: KeySpec } | undefined {
  for (const { section, keys } of sections) {
    for (const [key, spec] of Object.entries(keys)) {
      if (spec.aliases?.some((alias) => alias.toLowerCase() === lower)) return { section, key, spec };
    }
  }
  return undefined;
}

function knownNames(sections: readonly SectionSpec[]): string[] {
  const aliases = sections.flatMap((s) => Object.values(s.keys).flatMap((spec) => spec.aliases ?? []));
  return [...aliases, 'ListenPortCount', 'ListenPort0', 'WorkerProcesses'];
}

/** Their text as ours would be written. Durations are seconds there, except the flood interval. */
function convert(lower: string, value: string, spec: KeySpec, processes: number): string {
  const number = atoi(value);
  if (lower === 'loglevel') return levels[Math.max(0, Math.min(8, number))] ?? 'info';
  // Their limit holds per worker process.
  if (lower === 'worker_connections') return String(number * processes);
  if (lower === 'sock_maxwaittime') return `${Math.max(5, number)}s`;
  if (lower === 'sock_floodtimeinterval') return `${number}ms`;
  switch (spec.type) {
    case 'bool':
      return number === 1 ? 'yes' : 'no';
    case 'int':
    case 'number':
    case 'size':
      return String(number);
    case 'duration':
      return `${number}s`;
    default:
      return value;
  }
}
