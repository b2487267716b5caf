/** The rules of ARCHITECTURE.md that the source text can show. Each rule is also shown a made-up violation. */
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { actorTypes } from '../src/actors/index.js';
import {
  blockingCalls,
  fileWriters,
  longFiles,
  notIndexed,
  readSources,
  socketImports,
  upwardImports,
  wordsFound,
  type Sources,
} from './support/source-rules.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const src = readSources(root, ['src'], ['.ts']);

const only = (...files: readonly string[]): Sources =>
  new Map(files.map((file) => [file, src.get(file) ?? '']));
const below = (...folders: readonly string[]): Sources =>
  new Map([...src].filter(([file]) => folders.some((folder) => file.startsWith(folder))));
const madeUp = (file: string, text: string): Sources => new Map([[file, text]]);

describe('imports', () => {
  it('point downwards: protocol, store and runtime, actors, tree, cli, main', () => {
    expect(upwardImports(src)).toEqual([]);
  });

  it('that point upwards would be found', () => {
    const upwards: readonly (readonly [string, string])[] = [
      ['src/protocol/a.ts', "import { x } from '../runtime/x.js';"],
      ['src/store/a.ts', "import type { X } from '../runtime/x.js';"],
      ['src/runtime/a.ts', "import type { Store } from '../store/driver.js';"],
      ['src/runtime/deep/a.ts', "export { x } from '../../actors/index.js';"],
      ['src/runtime/a.ts', "const m = await import('../tree.js');"],
      ['src/actors/packet/a.ts', "import { startTree } from '../../tree.js';"],
      ['src/tree/a.ts', "import { cli } from '../cli.js';"],
      ['src/main.ts', "import { startTree } from './tree.js';"],
      ['src/elsewhere/a.ts', ''],
    ];
    for (const [file, text] of upwards) expect(upwardImports(madeUp(file, text)), file).toHaveLength(1);
    expect(upwardImports(madeUp('src/actors/packet/a.ts', "import '../../store/b.js';"))).toEqual([]);
  });
});

/** Files that may touch sockets. Everything else gets frames, requests and replies. */
const SERVER_SOCKETS = [
  'src/runtime/listener.ts',
  'src/runtime/connection.ts',
  'src/runtime/tls-context.ts',
  'src/runtime/http-node.ts',
  'src/runtime/admin.ts',
  'src/runtime/admin-session.ts',
  'src/runtime/admin-http.ts',
];
const CLIENT_SOCKETS = [
  'src/runtime/admin-client.ts',
  // The way to a database server.
  'src/store/mysql/link.ts',
  'src/store/postgres/link.ts',
];

describe('sockets', () => {
  it('are touched by listeners, connections, the HTTP engines and the admin port alone', () => {
    expect(socketImports(src, [...SERVER_SOCKETS, ...CLIENT_SOCKETS])).toEqual([]);
  });

  it('elsewhere would be found', () => {
    const file = 'src/actors/a.ts';
    const find = (text: string): string[] => socketImports(madeUp(file, text), []);
    expect(find("import { createServer } from 'node:net';")).toHaveLength(1);
    expect(find("import type { Socket } from 'node:net';")).toHaveLength(1);
    expect(find("import * as tls from 'node:tls';")).toHaveLength(1);
    expect(find("const http = await import('node:http');")).toHaveLength(1);
    expect(find("import { isIP } from 'node:net';")).toEqual([]);
    expect(socketImports(madeUp(file, ''), [file])).toHaveLength(1);
  });
});

/** Files that may block their thread, and why. */
const BLOCKING = [
  'src/store/sqlite/thread.ts', // what the thread is for
  'src/runtime/cpu-jobs.ts', // what those threads are for
  'src/runtime/gzip-file.ts', // the same
  'src/runtime/file-thread-entry.ts', // what the thread is for
  'src/runtime/config-values.ts', // start-up and reload: `file:` references
  'src/runtime/descriptors.ts', // start-up: limit of open files
  'src/runtime/pid-file.ts', // start-up and exit
  'src/runtime/log-file.ts', // opening a log file, the last lines at exit
  'src/runtime/log-rotate.ts', // one look at an open file
  'src/runtime/signals.ts', // last words of a dying process
  'src/cli/docs-verb.ts', // a command of its own, no service
  'src/cli/bench.ts', // the same
];

describe('calls that block their thread', () => {
  it('are made at start-up, at exit and in the thread of SQLite alone', () => {
    expect(blockingCalls(src, BLOCKING)).toEqual([]);
  });

  it('elsewhere would be found', () => {
    const find = (text: string): string[] => blockingCalls(madeUp('src/actors/a.ts', text), []);
    expect(find("const t = readFileSync('x');")).toEqual(['src/actors/a.ts calls readFileSync']);
    expect(find("fs.writeFileSync('x', 'y'); child.execSync('z');")).toHaveLength(2);
    expect(find('// readFileSync(x)\nlog.flushSync();')).toEqual([]);
    expect(blockingCalls(madeUp('src/actors/a.ts', ''), ['src/actors/a.ts'])).toHaveLength(1);
  });
});

describe('files that others read', () => {
  it('appear whole: actors and stores leave the writing to runtime/atomic-file.ts', () => {
    // Claims and locks are moved, and parts that are whole: atomic in itself.
    const mayMove = ['extract/lock', 'extract/outbox', 'stage/file-claims', 'transform/output'].map(
      (name) => `src/actors/pipeline/${name}.ts`,
    );
    expect(fileWriters(below('src/actors/', 'src/store/'), mayMove)).toEqual([]);
  });

  it('written otherwise would be found', () => {
    const find = (text: string): string[] => fileWriters(madeUp('src/actors/a.ts', text), []);
    expect(find("import { writeFile } from 'node:fs/promises';")).toHaveLength(1);
    expect(find("import { createWriteStream, stat } from 'node:fs';")).toHaveLength(1);
    expect(find("import * as fs from 'node:fs';")).toHaveLength(1);
    expect(find("import { readFile, unlink } from 'node:fs/promises';")).toEqual([]);
  });
});

describe('a file', () => {
  it('has at most 400 lines', () => {
    const all = readSources(root, ['src', 'bench'], ['.ts', '.mjs', '.c', '.h']);
    expect(longFiles(all, 400)).toEqual([]);
  });

  it('with more would be found', () => {
    expect(longFiles(madeUp('src/a.ts', 'x\n'.repeat(401)), 400)).toEqual(['src/a.ts has 401 lines']);
    expect(longFiles(madeUp('src/a.ts', 'x\n'.repeat(400)), 400)).toEqual([]);
  });
});

/** "actor", "stage", "listener" and "http" are kinds of conf sections, which the tree has to know. */
const BUSINESS_WORDS = new Set([
  ...actorTypes.flatMap(({ type }) => type.split('-')).map((word) => word.replace(/s$/, '')),
  ...[
    'packet',
    'ping',
    'login',
    'register',
    'user',
    'account',
    'password',
    'weather',
    'observation',
    'station',
  ],
  ...[
    'table',
    'row',
    'ftp',
    'chat',
    'friend',
    'group',
    'sqlite',
    'mysql',
    'oracle',
    'redis',
    'nginx',
    'teamtalk',
  ],
]);
const GENERIC_WORDS = ['data', 'api', 'load', 'generate', 'run', 'file', 'files'];

describe('main.ts and tree.ts', () => {
  const words = [...BUSINESS_WORDS].filter((word) => !GENERIC_WORDS.includes(word));

  it('contain no business words', () => {
    expect(wordsFound(only('src/main.ts', 'src/tree.ts'), words)).toEqual([]);
  });

  it('with a business word would be found', () => {
    for (const text of ['startPacketServer()', "'packet'", '// loads stations', 'LOGIN_LIMIT']) {
      expect(wordsFound(madeUp('src/tree.ts', text), words), text).toHaveLength(1);
    }
    expect(wordsFound(madeUp('src/tree.ts', 'packets.length; stage; actor'), words)).toEqual([
      'src/tree.ts says packet',
    ]);
  });
});

describe('a table of commands', () => {
  it.each([
    ['src/actors/packet/commands/index.ts', []],
    ['src/runtime/admin-commands/index.ts', ['command.ts']],
  ])('%s lists every file beside it', (index, exempt) => {
    expect(src.has(index)).toBe(true);
    expect(notIndexed(src, index, exempt)).toEqual([]);
  });

  it('that misses one would be found', () => {
    const sources = new Map([
      ['src/c/index.ts', "import { a } from './a.js';"],
      ['src/c/a.ts', ''],
      ['src/c/b.ts', ''],
      ['src/c/deep/d.ts', ''],
    ]);
    expect(notIndexed(sources, 'src/c/index.ts', [])).toEqual(['src/c/b.ts']);
  });
});

/** @returns what an actor type still needs; `exists` is asked with paths from the root */
function missingOf(
  { type, kind, module }: { type: string; kind: 'service' | 'stage'; module: string },
  exists: (path: string) => boolean,
): string[] {
  const source = posix.join('src/actors', module).replace(/\.js$/, '.ts');
  const test = posix.join('test/actors', module).replace(/\.js$/, '.test.ts');
  const needed: readonly (readonly string[])[] = [
    [source],
    [test],
    // A service that has a shipped conf of its own needs no sample beside it.
    kind === 'stage' ? [`conf/samples/${type}.conf`] : [`conf/samples/${type}.conf`, `conf/${type}.conf`],
    ...(kind === 'stage' ? [[`docs/stages/${type}.md`]] : []),
  ];
  return needed.filter((any) => !any.some(exists)).map((any) => any.join(' or '));
}

describe('an actor type', () => {
  const exists = (path: string): boolean => existsSync(join(root, path));

  it.each(actorTypes.map((type) => [type.type, type] as const))(
    '%s has its module, a test, a sample conf and, as a stage, a page',
    (_, type) => {
      expect(missingOf(type, exists)).toEqual([]);
    },
  );

  it('that lacks one would be found', () => {
    const stage = { type: 'new-stage', kind: 'stage', module: './pipeline/new-stage.js' } as const;
    expect(missingOf(stage, () => false)).toHaveLength(4);
    expect(missingOf(stage, (path) => !path.startsWith('test/'))).toEqual([
      'test/actors/pipeline/new-stage.test.ts',
    ]);
  });
});
