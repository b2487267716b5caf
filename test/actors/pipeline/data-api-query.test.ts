import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseApiRequest, type ApiQuery } from '../../../src/actors/pipeline/data-api/query.js';

const parse = (
  query: string,
  headers: Record<string, string> = {},
  form = true,
): ReturnType<typeof parseApiRequest> => parseApiRequest({ query, headers }, form);

describe('a request to the data service', () => {
  it('is decoded; the first of a name counts; names are exact', () => {
    const query = parse('username=a%20b&passwd=%E5%AF%86+x&intername=i&t=1&begintime=2&t=3') as ApiQuery;
    expect(query.credentials).toEqual({ username: 'a b', password: '密 x' });
    expect([query.params.get('t'), query.params.get('time'), query.params.get('begintime')]).toEqual([
      '1',
      undefined,
      '2',
    ]);
  });

  it('asks for a format by parameter, else by Accept, else gets XML', () => {
    const format = (query: string, accept?: string): string =>
      parse(`intername=i${query}`, accept === undefined ? {} : { accept }).format;
    expect(format('')).toBe('xml');
    expect(format('', '*/*')).toBe('xml');
    expect(format('', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8')).toBe('xml');
    expect(format('', 'application/json;q=0.2, text/csv;q=0.9')).toBe('csv');
    expect(format('&format=NDJSON', 'application/json')).toBe('ndjson');
    expect(format('', '__proto__, constructor')).toBe('xml');
  });

  it('is refused when it is too large or lacks its interface', () => {
    expect(parse('')).toHaveProperty('problem');
    expect(parse('intername=i&format=pdf')).toHaveProperty('problem');
    expect(parse(`intername=i&x=${'a'.repeat(9_000)}`)).toHaveProperty('problem');
    expect(parse('intername=i' + Array.from({ length: 200 }, (_, i) => `&p${i}=1`).join(''))).toHaveProperty(
      'problem',
    );
  });

  it('has no credentials when they are too long, empty, or come in a way that is off', () => {
    const credentials = (query: string, headers: Record<string, string> = {}, form = true): unknown =>
      (parse(`intername=i${query}`, headers, form) as ApiQuery).credentials;
    expect(credentials(`&username=${'u'.repeat(31)}&passwd=p`)).toBeUndefined();
    expect(credentials(`&username=u&passwd=${'p'.repeat(201)}`)).toBeUndefined();
    expect(credentials('&username=&passwd=p')).toBeUndefined();
    expect(credentials('&username=u')).toBeUndefined();
    expect(credentials('&username=u&passwd=p', {}, false)).toBeUndefined();
    expect(credentials('', { authorization: 'Bearer u:a:b' })).toEqual({ username: 'u', password: 'a:b' });
    expect(credentials('', { authorization: 'Digest u:a' })).toBeUndefined();
  });

  it('never throws', () => {
    const headers = fc.record({ accept: fc.string(), authorization: fc.string() });
    fc.assert(
      fc.property(fc.string(), headers, fc.boolean(), (query, given, form) => void parse(query, given, form)),
    );
  });
});
