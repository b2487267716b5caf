import { describe, expect, it } from 'vitest';
import { fromConnectionString } from '../../src/store/connection-string.js';

describe('a connection string', () => {
  it.each([
    ['127.0.0.1,root,pass@word,idc,3306', 'mysql://root:pass%40word@127.0.0.1:3306/idc'],
    [' db , u , p , d ', 'mysql://u:p@db:3306/d'],
    ['scott/ti@ger@orcl', 'oracle://scott:ti%40ger@orcl'],
    ['postgresql://u:p@h/d?schema=a', 'postgres://u:p@h/d?schema=a'],
    ['MariaDB://u:p@h/d', 'mysql://u:p@h/d'],
    ['mysql://u:p@h/d', 'mysql://u:p@h/d'],
    ['sqlite:var/a,b.db', 'sqlite:var/a,b.db'],
    ['no such thing', 'no such thing'],
    ['1,2,3,4,port', '1,2,3,4,port'],
  ])('%j is %j', (given, url) => {
    expect(fromConnectionString(given)).toBe(url);
  });
});
