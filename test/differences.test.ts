/** docs/protocols/differences.md: every row names a test that exists, or says why there is none. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { allSections, allTypes } from '../src/conf-schema.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(`${root}/${file}`, 'utf8');

interface Row {
  readonly area: string;
  readonly id: string;
  readonly there: string;
  readonly here: string;
  readonly keys: string;
  readonly test: string;
}

function rowsOf(text: string): Row[] {
  let area = '';
  const rows: Row[] = [];
  for (const line of text.split('\n')) {
    area = /^## (.+)/.exec(line)?.[1] ?? area;
    if (!line.startsWith('| ')) continue;
    const cells = line.split('|').map((cell) => cell.trim());
    const [, id = '', there = '', here = '', keys = '', test = ''] = cells;
    if (id === '#') continue;
    if (cells.length !== 7) throw new Error(`not five cells: ${line.slice(0, 60)}`);
    rows.push({ area, id, there, here, keys, test });
  }
  return rows;
}

const REASON = /^(not testable|does not apply): \S.{10,}/;
/** Contracts that every driver keeps stand in files of their own, `contract-*.ts`. */
const TEST_FILE = /`(test\/(?:[\w./-]+\.test|store\/contract-\w+)\.ts)`((?: ?,? ?“[^”]+”)+)/g;

/** A title stands in its file as one string literal. */
function hasTitle(source: string, title: string): boolean {
  const bare = title.replaceAll('\\', '\\\\');
  return [`'${bare.replaceAll("'", "\\'")}'`, `"${bare}"`, `\`${bare}\``].some((literal) =>
    source.includes(literal),
  );
}

/** @returns what is wrong with the last cell of a row */
function problems({ test }: Pick<Row, 'test'>): string[] {
  if (REASON.test(test)) return [];
  const found: string[] = [];
  // Nothing but files with their titles: a title that the pattern does not see would not be looked up.
  if (test === '' || test.replace(TEST_FILE, '').replace(/[; ]/g, '') !== '')
    found.push('neither tests nor a reason');
  for (const [, file = '', titles = ''] of test.matchAll(TEST_FILE)) {
    if (!existsSync(`${root}/${file}`)) found.push(`no file ${file}`);
    else
      for (const [, title = ''] of titles.matchAll(/“([^”]+)”/g))
        if (!hasTitle(read(file), title)) found.push(`no test “${title}” in ${file}`);
  }
  return found;
}

const rows = rowsOf(read('docs/protocols/differences.md'));
const idsOf = (area: string): string[] => rows.filter((row) => row.area === area).map(({ id }) => id);
const upTo = (last: number): string[] => Array.from({ length: last }, (_, n) => String(n + 1));

describe('the list of what is mended', () => {
  it('has every row of the packet server and of the small web server, in order', () => {
    expect(idsOf('The packet server')).toEqual(upTo(33));
    expect(idsOf('The small web server')).toEqual(upTo(14));
    expect(idsOf('Wishes in the notes about the packet server')).toEqual(upTo(13).map((n) => `N${n}`));
    expect(idsOf('Single versions of the data centre')).toEqual(upTo(3).map((n) => `V${n}`));
    const others = idsOf('The data centre');
    expect(others.length).toBeGreaterThan(40);
    expect(new Set(others).size).toBe(others.length);
    expect(others.filter((id) => !/^[SDLH]\d+$/.test(id))).toEqual([]);
  });

  it.each(rows.map((row) => [row.area, row.id, row] as const))(
    '%s, row %s says what and how it is shown',
    (...of) => {
      const row = of[2];
      expect(row.there).toMatch(/\w{3}/);
      expect(row.here).toMatch(/\w{3}/);
      expect(problems(row)).toEqual([]);
    },
  );

  it('names only conf keys that exist', () => {
    const keysOf = (section: string): string[] =>
      [...allSections(), ...allTypes()]
        .filter((s) => s.section === section)
        .flatMap(({ keys }) => Object.keys(keys));
    for (const { id, keys } of rows) {
      for (const [, section = '', key = ''] of keys.matchAll(/`\[(\w+)\] (\w+)`/g))
        expect(keysOf(section), `row ${id}`).toContain(key);
      expect(keys.replace(/`\[\w+\] \w+`(, )?/g, ''), `row ${id}`).toBe('');
    }
  });

  it('with a mistake would be found', () => {
    const of = (test: string): string[] => problems({ test });
    expect(of('')).toEqual(['neither tests nor a reason']);
    expect(of('not testable:')).toHaveLength(1);
    expect(of('not testable: nothing moves here at all')).toEqual([]);
    expect(of('`test/docs.test.ts`')).toHaveLength(1);
    expect(of('`test/docs.test.ts` “with a mistake would be found”')).toEqual([]);
    expect(of('`test/docs.test.ts` “with a mistake”')).toHaveLength(1);
    expect(of('`test/docs.test.ts` “with a mistake would be found”, “never written”')).toHaveLength(1);
    expect(of('`test/nowhere.test.ts` “a”')).toEqual(['no file test/nowhere.test.ts']);
    expect(() => rowsOf('| 1 | a | b |')).toThrow('not five cells');
  });
});
