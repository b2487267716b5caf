/** The documents say what is so, as far as a test can tell. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readSources } from './support/source-rules.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const FOLDERS = ['docs', 'bench', 'conf', 'deploy', 'src', 'test', '.ci'];
const exists = (path: string): boolean => existsSync(join(root, path));

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...FOLDERS.filter(exists).flatMap((folder) => [...readSources(root, [folder], ['.md']).keys()]),
].filter((page) => !page.startsWith('bench/results/'));

/** Without fenced and indented blocks, whose text is no Markdown. */
function prose(text: string): string {
  return text.replace(/^ *```[^]*?^ *```/gm, '').replace(/^ {4}.*$/gm, '');
}

/** `heading text` -> the anchor that GitHub gives it. */
function anchorsOf(text: string): string[] {
  return [...prose(text).matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** @returns links of a page to files of ours that are not there, or to headings that the file does not have */
function brokenLinks(page: string, text: string): string[] {
  return [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? page : normalize(join(dirname(page), decodeURI(path)));
      if (path !== '' && (target.startsWith('..') || !exists(target))) return true;
      return anchor !== undefined && !anchorsOf(path === '' ? text : read(target)).includes(anchor);
    });
}

/** Paths of this repository in backticks, such as `src/tree.ts`; with a star or a placeholder they name no one file. */
function deadPaths(text: string): string[] {
  return [...prose(text).matchAll(/`((?:src|test|docs|conf|deploy|bench)\/[\w./-]+)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => !path.startsWith('bench/results') && !exists(path));
}

const FOREIGN: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['a path of a machine', /(^|[\s`'"(=])\/(work|root|home\/\w+|tmp\/[\w.]+)\b/],
  ['a package registry', /registry\.[\w.-]+|npmmirror|artifactory|pkg\.dev/i],
];

/** @returns what has no business in a document */
function foreign(text: string): string[] {
  return FOREIGN.filter(([, pattern]) => pattern.test(text)).map(([what]) => what);
}

describe('a document', () => {
  it.each(pages)('%s links only to what is there', (page) => {
    expect(brokenLinks(page, read(page))).toEqual([]);
  });

  it.each(pages)('%s names only files that are there', (page) => {
    // Guides invent files for their example, the changelog tells of files that are gone.
    if (page.startsWith('docs/guides/') || page === 'CHANGELOG.md') return;
    expect(deadPaths(read(page))).toEqual([]);
  });

  it.each(pages)('%s has no paths of a machine and no registry hosts', (page) => {
    expect(foreign(read(page))).toEqual([]);
  });

  it('with a mistake would be found', () => {
    expect(brokenLinks('docs/a.md', '[a](b.md) [b](../README.md) [c](#c) [d](https://x.y/z)\n')).toEqual([
      'b.md',
      '#c',
    ]);
    expect(brokenLinks('a.md', '# Two words, here\n[a](#two-words-here) [b](#two)')).toEqual(['#two']);
    expect(deadPaths('`src/nothing.ts` `src/main.ts` `src/*.ts`')).toEqual(['src/nothing.ts']);
    expect(foreign('see /root/x')).toHaveLength(1);
    expect(foreign('from https://registry.example.org/')).toHaveLength(1);
    expect(foreign('/api/* and var/obs, network')).toEqual([]);
  });
});

describe('the READMEs', () => {
  it.each(['README.md', 'README.zh-CN.md'])('%s has the command that runs and the one that tests', (page) => {
    expect(read(page)).toMatch(/^sh deploy\/setup\.sh && node dist\/main\.js conf\/\*\.conf\b/m);
    expect(read(page)).toMatch(/^sh deploy\/setup\.sh && npm test\b/m);
  });

  it('ask the demo for the same thing, which the demo has', () => {
    const curl = /^curl .*$/m;
    expect(curl.exec(read('README.md'))?.[0]).toBe(curl.exec(read('README.zh-CN.md'))?.[0]);
    const url = /http:\/\/([\d.:]+)(\/\w+)\?/.exec(curl.exec(read('README.md'))?.[0] ?? '');
    expect(read('conf/dataapi.conf')).toContain(`address = ${url?.[1]}`);
    expect(read('conf/dataapi.conf')).toContain(`route = ${url?.[2]}`);
  });

  it('leave the figures to one marked place', () => {
    for (const page of ['README.md', 'README.zh-CN.md']) {
      expect(read(page).match(/<!-- bench:(begin|end) -->/g)).toEqual([
        '<!-- bench:begin -->',
        '<!-- bench:end -->',
      ]);
    }
  });
});

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(read('package.json')) as Manifest;

describe('docs/dependencies.md', () => {
  const all = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies };
  const rows = new Map(
    [...read('docs/dependencies.md').matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)].map(
      ([, name = '', licence = '']) => [name, licence] as const,
    ),
  );

  it.each(Object.keys(all))('has a row for %s with its licence', (name) => {
    const licence = exists(`node_modules/${name}/package.json`)
      ? (JSON.parse(read(`node_modules/${name}/package.json`)) as { license: string }).license
      : rows.get(name);
    expect(rows.get(name)).toBe(licence);
    expect(licence).toMatch(/\w/);
  });

  it('has no row for a package that is not used any more', () => {
    const named = [...rows.keys()].filter((name) => name !== 'package' && !/^-+$/.test(name));
    expect(named.filter((name) => !(name in all))).toEqual([]);
  });

  it('lists only run-time packages that the program uses', () => {
    const sources = [...readSources(root, ['src'], ['.ts']).values()].join('\n');
    const used = (name: string): boolean => sources.includes(`'${name}'`) || sources.includes(`'${name}/`);
    const runtime = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
    expect(runtime.filter((name) => !used(name))).toEqual([]);
    expect(used('no-such-package')).toBe(false);
  });
});

describe('package.json', () => {
  it('has scripts that call files which are there', () => {
    const files = Object.values(manifest.scripts).flatMap(
      (script) => script.match(/\b[\w./-]+\.(m?js|sh|json)\b/g) ?? [],
    );
    expect(files.length).toBeGreaterThan(3);
    expect(files.filter((file) => !exists(file))).toEqual([]);
  });
});
