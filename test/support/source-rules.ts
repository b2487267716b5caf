/**
 * Rules about the source text, as functions from files to violations, so that each can be shown a made-up one. Used by
 * test/architecture.test.ts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import ts from 'typescript';

/** Path from the root of the repository, with forward slashes -> text. */
export type Sources = ReadonlyMap<string, string>;

/** @param folders below `root`; @param endings for example ['.ts'] */
export function readSources(root: string, folders: readonly string[], endings: readonly string[]): Sources {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => endings.some((ending) => name.endsWith(ending)))
      .map((name) => posix.join(folder, name.replaceAll('\\', '/'))),
  );
  return new Map(files.sort().map((file) => [file, readFileSync(join(root, file), 'utf8')]));
}

/** Which layer may import which, besides itself. Lower layers know nothing of higher ones. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  store: ['protocol'],
  runtime: ['protocol'],
  actors: ['protocol', 'store', 'runtime'],
  'conf-schema': ['protocol', 'store', 'runtime', 'actors'],
  tree: ['protocol', 'store', 'runtime', 'actors', 'conf-schema'],
  cli: ['protocol', 'store', 'runtime', 'actors', 'conf-schema', 'tree'],
  main: ['cli'],
};

/** `src/tree.ts` and `src/tree/front.ts` are both of the layer `tree`. */
function layerOf(file: string): string {
  return (file.split('/')[1] ?? '').replace(/\.ts$/, '');
}

/** Static, type-only, re-exporting and dynamic imports alike. */
function importsOf(text: string): readonly string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}

export function upwardImports(sources: Sources): string[] {
  const found: string[] = [];
  for (const [file, text] of sources) {
    const from = layerOf(file);
    const allowed = LAYERS[from];
    if (allowed === undefined) {
      found.push(`${file} is of no known layer`);
      continue;
    }
    for (const target of importsOf(text)) {
      if (!target.startsWith('.')) continue;
      const to = layerOf(posix.join(posix.dirname(file), target).replace(/\.js$/, '.ts'));
      if (to !== from && !allowed.includes(to)) found.push(`${file} imports ${target}`);
    }
  }
  return found;
}

interface NamedImport {
  readonly module: string;
  /** `*` for a namespace, a default or a dynamic import. */
  readonly name: string;
}

function namedImports(file: string, text: string): NamedImport[] {
  const found: NamedImport[] = [];
  const seen = new Set<string>();
  for (const statement of ts.createSourceFile(file, text, ts.ScriptTarget.Latest).statements) {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
    const module = statement.moduleSpecifier.text;
    const bindings = statement.importClause?.namedBindings;
    if (
      statement.importClause?.name !== undefined ||
      bindings === undefined ||
      ts.isNamespaceImport(bindings)
    )
      found.push({ module, name: '*' });
    else
      for (const { name, propertyName } of bindings.elements)
        found.push({ module, name: (propertyName ?? name).text });
    seen.add(module);
  }
  for (const module of importsOf(text)) if (!seen.has(module)) found.push({ module, name: '*' });
  return found;
}

const SOCKET_MODULES = /^node:(net|tls|http|https|http2|dgram)$|^(ws|uWebSockets\.js)$/;
/** Names from those modules that have to do with addresses and texts, not with sockets. */
const HARMLESS = new Set(['BlockList', 'isIP', 'isIPv4', 'isIPv6', 'STATUS_CODES']);

/** @param allowed files that may touch sockets, types included */
export function socketImports(sources: Sources, allowed: readonly string[]): string[] {
  return violations(sources, allowed, 'sockets', (file, text) =>
    namedImports(file, text)
      .filter(({ module, name }) => SOCKET_MODULES.test(module) && !HARMLESS.has(name))
      .map(({ module, name }) => `${file} imports ${name} of ${module}`),
  );
}

/** @param allowed files that may call what blocks their thread */
export function blockingCalls(sources: Sources, allowed: readonly string[]): string[] {
  return violations(sources, allowed, 'blocking calls', (file, text) => {
    const found: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node)) {
        const { expression } = node;
        const name = ts.isPropertyAccessExpression(expression)
          ? expression.name.text
          : ts.isIdentifier(expression)
            ? expression.text
            : '';
        // The log's own `flushSync` is a method of ours, called at exit.
        if (/\wSync$/.test(name) && name !== 'flushSync') found.push(`${file} calls ${name}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
    return found;
  });
}

const WRITERS =
  /^(rename|writeFile|appendFile|createWriteStream|copyFile|link|symlink|cp)(Sync)?$|^(\*|default|promises)$/;

/** A file is written and given its name in runtime/atomic-file.ts alone. @param allowed files that may move files */
export function fileWriters(sources: Sources, allowed: readonly string[]): string[] {
  return violations(sources, allowed, 'writing files', (file, text) =>
    namedImports(file, text)
      .filter(({ module, name }) => /^node:fs(\/promises)?$/.test(module) && WRITERS.test(name))
      .map(({ module, name }) => `${file} imports ${name} of ${module}`),
  );
}

export function longFiles(sources: Sources, limit: number): string[] {
  return [...sources]
    .map(([file, text]) => ({ file, lines: text.replace(/\n$/, '').split('\n').length }))
    .filter(({ lines }) => lines > limit)
    .map(({ file, lines }) => `${file} has ${lines} lines`);
}

/** Words in names, strings and comments, also as part of a compound: `loadPacket`, `packet-server`. */
export function wordsFound(sources: Sources, words: readonly string[]): string[] {
  return [...sources].flatMap(([file, text]) => {
    const parts = text
      .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
      .toLowerCase()
      .split(/[^a-z0-9]+/);
    return words
      .filter((word) => parts.includes(word.toLowerCase()) || parts.includes(`${word.toLowerCase()}s`))
      .map((word) => `${file} says ${word}`);
  });
}

/** @returns the modules of the folder of an index that the index does not import */
export function notIndexed(sources: Sources, index: string, exempt: readonly string[]): string[] {
  const folder = posix.dirname(index);
  const listed = new Set(importsOf(sources.get(index) ?? '').map((name) => name.replace(/\.js$/, '.ts')));
  return [...sources.keys()].filter(
    (file) =>
      posix.dirname(file) === folder &&
      file !== index &&
      !exempt.includes(posix.basename(file)) &&
      !listed.has(`./${posix.basename(file)}`),
  );
}

/** What breaks the rule outside of the exempt files, and exemptions that nothing needs any more. */
function violations(
  sources: Sources,
  allowed: readonly string[],
  what: string,
  find: (file: string, text: string) => string[],
): string[] {
  const used = new Set<string>();
  const found: string[] = [];
  for (const [file, text] of sources) {
    const broken = find(file, text);
    if (!allowed.includes(file)) found.push(...broken);
    else if (broken.length > 0) used.add(file);
  }
  return [
    ...found,
    ...allowed.filter((file) => !used.has(file)).map((file) => `${file} needs no exemption: ${what}`),
  ];
}
