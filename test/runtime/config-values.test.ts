import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  expandReferences,
  maskPasswords,
  parseAddress,
  parseDuration,
  parseSize,
  parseValue,
  referenceFileLimit,
  showNumber,
  showValue,
} from '../../src/runtime/config-values.js';
import type { KeySpec, KeyType } from '../../src/runtime/schema.js';

const key = (type: KeyType, more: Partial<KeySpec> = {}): KeySpec => ({
  type,
  help: 'h',
  reload: 'live',
  ...more,
});
const value = (spec: KeySpec, text: string): unknown => {
  const parsed = parseValue(spec, text);
  return 'value' in parsed ? parsed.value : parsed.reason;
};

describe('a conf value', () => {
  it.each([
    [key('int'), '42', 42],
    [key('int'), '-7', -7],
    [key('int'), '4.2', 'must be a whole number, got "4.2"'],
    [key('int'), '', 'must be a whole number, got ""'],
    [key('int'), '0x10', 'must be a whole number, got "0x10"'],
    [key('int'), '99999999999999999999', 'must be a whole number, got "99999999999999999999"'],
    [key('int', { min: 1 }), '0', 'must be at least 1, got "0"'],
    [key('int', { max: 9 }), '10', 'must be at most 9, got "10"'],
    [key('number'), '.5', 0.5],
    [key('number'), '1e400', 'must be a number, got "1e400"'],
    [key('bool'), 'On', true],
    [key('bool'), '0', false],
    [key('bool'), 'maybe', 'must be yes or no, got "maybe"'],
    [key('bool'), 'constructor', 'must be yes or no, got "constructor"'],
    [key('duration'), '90', 90_000],
    [key('duration'), '500ms', 500],
    [key('duration'), '1.5h', 5_400_000],
    [key('duration'), '3 parsecs', 'must be a duration such as 500ms, 30s, 5m, 2h or 1d, got "3 parsecs"'],
    [key('duration', { max: 60_000 }), '2m', 'must be at most 1m, got "2m"'],
    [key('size'), '64k', 65_536],
    [key('size'), '4MB', 4_194_304],
    [key('size', { min: 65_536 }), '1k', 'must be at least 64k, got "1k"'],
    [key('size'), 'big', 'must be a size such as 512, 64k, 4m or 1g, got "big"'],
    [key('enum', { values: ['text', 'json'] }), 'JSON', 'json'],
    [
      key('enum', { values: ['text', 'json'] }),
      'jsn',
      'must be one of text, json, got "jsn", did you mean json?',
    ],
    [key('list'), ' a, b ,,c', ['a', 'b', 'c']],
    [key('list'), '', []],
    [key('string'), '', ''],
    [key('string', { required: true }), '', 'must not be empty'],
    [key('address'), '[::1]:80', '[::1]:80'],
    [key('address'), '80000', 'must be port, host:port or [v6]:port with a port of 0 to 65535, got "80000"'],
  ])('of %o written %j is %j', (spec, text, expected) => {
    expect(value(spec, text)).toEqual(expected);
  });

  it('is printed in the unit that reads back as the same number', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 40 }), (n) => {
        const ms = showNumber(key('duration'), n);
        expect(parseDuration(ms)).toBe(n);
        expect(parseSize(showNumber(key('size'), n))).toBe(n);
      }),
    );
  });

  it('that is a secret or holds a password is masked', () => {
    expect(showValue(key('secret'), 'hunter2')).toBe('***');
    expect(showValue(key('string'), 'mysql://me:hun@ter2@db/x')).toBe('mysql://me:***@db/x');
    expect(maskPasswords('<connstr>scott/tiger@orcl</connstr><charset>utf8</charset>')).toBe(
      '<connstr>***</connstr><charset>utf8</charset>',
    );
    expect(JSON.stringify(parseValue(key('secret', { required: true }), ''))).not.toContain('got');
  });

  it.each([
    ['7070', { host: undefined, port: 7070 }],
    ['*:1', { host: undefined, port: 1 }],
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['[fe80::1%eth0]:9', { host: 'fe80::1%eth0', port: 9 }],
    ['::1:80', undefined],
    ['host', undefined],
    ['host:', undefined],
  ])('as an address %s is %o', (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
  });
});

describe('a reference', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'conf-'));
    writeFileSync(join(folder, 'token'), 'hunter2\n');
    writeFileSync(join(folder, 'empty'), '\n');
    writeFileSync(join(folder, 'large'), 'x'.repeat(referenceFileLimit + 1));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const expand = (text: string, quoting: 'bare' | 'double' | 'single' = 'bare'): unknown => {
    const outcome = expandReferences(text, quoting, { A: 'one', EMPTY: '' }, join(folder, 'x.conf'));
    return 'value' in outcome ? outcome.value.text : outcome.reason;
  };

  it.each([
    ['x${A}y${A}', 'xoney' + 'one'],
    ['${B:-two}', 'two'],
    ['${EMPTY:-two}', 'two'],
    ['${EMPTY}', ''],
    ['${B:-}', ''],
    ['$${A}', '${A}'],
    ['$A', '$A'],
    ['${B}', 'environment variable B is not set'],
    ['${A', 'a reference is written ${NAME} or ${NAME:-default}, a plain ${ as $${'],
    ['${A-B}', 'a reference is written ${NAME} or ${NAME:-default}, a plain ${ as $${'],
  ])('%s gives %j', (text, expected) => {
    expect(expand(text)).toBe(expected);
    expect(expand(text, 'double')).toBe(expected);
    expect(expand(text, 'single')).toBe(text);
  });

  it('to a file gives its text without the last line end', () => {
    expect(expand(`file:${folder}/token`)).toBe('hunter2');
    expect(expand('file:token')).toBe('hunter2');
    expect(expand('file:token', 'double')).toBe('file:token');
  });

  it('to a file that cannot serve says why', () => {
    expect(expand('file:nowhere')).toBe(`file ${folder}/nowhere cannot be read (ENOENT)`);
    expect(expand('file:empty')).toBe(`file ${folder}/empty is empty`);
    expect(expand('file:large')).toBe(`file ${folder}/large is larger than 65536 bytes`);
    expect(expand(`file:${folder}`)).toBe(`file ${folder} is not a regular file`);
  });
});
