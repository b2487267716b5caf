import { describe, expect, it } from 'vitest';
import { HttpRouter, MAX_ROUTES } from '../../../src/runtime/http-router.js';

function router(...routes: string[]): HttpRouter<string> {
  const made = new HttpRouter<string>();
  for (const route of routes) {
    const [method = '', path = ''] = route.split(' ');
    made.add(method, path, route);
  }
  return made;
}

describe('the HTTP router', () => {
  it('prefers the exact path, then the longest prefix', () => {
    const made = router('GET /*', 'GET /a/*', 'GET /a/b/*', 'GET /a/b/c');
    expect(made.match('GET', '/a/b/c')).toBe('GET /a/b/c');
    expect(made.match('GET', '/a/b/d/e')).toBe('GET /a/b/*');
    expect(made.match('GET', '/a/x')).toBe('GET /a/*');
    expect(made.match('GET', '/a')).toBe('GET /*');
    expect(made.match('GET', '/')).toBe('GET /*');
  });

  it('falls to a shorter prefix when the longer one has another method', () => {
    const made = router('POST /a/b/*', 'GET /a/*');
    expect(made.match('GET', '/a/b/c')).toBe('GET /a/*');
    expect(made.match('POST', '/a/b/c')).toBe('POST /a/b/*');
  });

  it('answers HEAD with the GET route and names the methods of a path', () => {
    const made = router('GET /a', 'POST /a', 'DELETE /*');
    expect(made.match('HEAD', '/a')).toBe('GET /a');
    expect(made.match('PUT', '/a')).toBeUndefined();
    expect(made.allowed('/a')).toEqual(['DELETE', 'GET', 'HEAD', 'POST']);
    expect(router('GET /a').allowed('/b')).toEqual([]);
  });

  it('forgets the routes of a target and only those', () => {
    const made = new HttpRouter<string>();
    made.add('GET', '/a', 'one');
    made.add('GET', '/b/*', 'one');
    made.add('POST', '/a', 'two');
    made.removeTarget('one');
    expect(made.size).toBe(1);
    expect(made.match('GET', '/a')).toBeUndefined();
    expect(made.match('GET', '/b/x')).toBeUndefined();
    expect(made.match('POST', '/a')).toBe('two');
  });

  it('refuses bad routes and a flood of them', () => {
    const made = new HttpRouter<number>();
    expect(() => made.add('get', '/a', 1)).toThrow('bad method');
    expect(() => made.add('GET', 'a', 1)).toThrow('bad path');
    expect(() => made.add('GET', '/a?b', 1)).toThrow('bad path');
    for (let n = 0; n < MAX_ROUTES; n++) made.add('GET', `/${n}`, n);
    expect(() => made.add('GET', '/more', 1)).toThrow('more than');
    made.add('GET', '/0', 7);
    expect(made.match('GET', '/0')).toBe(7);
  });
});
