import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DataApi } from '../../../src/actors/pipeline/data-api.js';
import { dataApiKeys } from '../../../src/actors/pipeline/data-api/keys.js';
import { openStore, type SqlRow, type Store } from '../../../src/store/driver.js';
import { PasswordHasher } from '../../../src/store/passwords.js';
import { FakeContext, FakeResponse, fakeRequest } from '../../support/fake-context.js';
import { paramsOf } from '../../support/stage-params.js';

const PASSWORD = 'correct horse & battery';
const LOGIN = `username=demo&passwd=${encodeURIComponent(PASSWORD)}`;

let root = '';
let url = '';
let store: Store;
let hasher: PasswordHasher;
const started: DataApi[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'data-api-'));
  url = `sqlite:${join(root, 'data.db')}`;
  hasher = new PasswordHasher({ cost: 10 });
});
afterEach(async () => {
  for (const api of started.splice(0)) await api.stop();
  await store?.close();
  await rm(root, { recursive: true, force: true });
});

async function start(written: Record<string, string> = {}): Promise<{ api: DataApi; ctx: FakeContext }> {
  const ctx = new FakeContext(
    paramsOf(dataApiKeys, { store: url, demo: 'yes', demo_password: PASSWORD, ...written }),
    'data-api',
  );
  const api = new DataApi(ctx, hasher);
  await api.init();
  started.push(api);
  return { api, ctx };
}

async function fill(): Promise<void> {
  store = await openStore(url);
  const columns = ['obtid', 'ddatetime', 't', 'p', 'u', 'wd', 'wf', 'r', 'vis'];
  await store.batch(store.dialect.insert('T_ZHOBTMIND', columns), [
    ['58015', '2023-07-06 15:43:00', 301, 10253, 80, 189, 77, 13, 104595],
    ['58015', '2023-07-06 15:44:00', null, 10253, 80, 189, 77, 13, 104595],
    ['58102', '2023-07-06 15:45:00', 299, 10253, 80, 189, 77, 13, 104595],
  ]);
  await store.batch(
    store.dialect.insert('T_ZHOBTCODE', ['obtid', 'cityname', 'provname', 'lat', 'lon', 'height']),
    [['58015', '砀山<&">', '安徽', 3427, 11620, 442]],
  );
}

async function get(
  api: DataApi,
  query: string,
  options: Parameters<typeof fakeRequest>[1] = {},
): Promise<FakeResponse> {
  const response = new FakeResponse();
  api.request(fakeRequest(query, options), response);
  await vi.waitFor(() => expect(response.ended).toBe(true), { timeout: 10_000, interval: 5 });
  return response;
}

const rowsOf = async (sql: string): Promise<readonly SqlRow[]> => (await store.query(sql)).rows;

describe('the query form of the reference', () => {
  it('is answered byte for byte', async () => {
    const { api, ctx } = await start();
    await fill();
    expect(ctx.routes).toEqual(['GET /api']);
    const response = await get(api, `${LOGIN}&intername=getzhobtmind1&obtid=58015`);
    expect(response.text).toBe(
      '<retcode>0</retcode><message>ok</message>\n<data>\n' +
        '<obtid>58015</obtid><ddatetime>20230706154300</ddatetime><t>301</t><p>10253</p><u>80</u><wd>189</wd><wf>77</wf><r>13</r><vis>104595</vis><endl/>\n' +
        '<obtid>58015</obtid><ddatetime>20230706154400</ddatetime><t></t><p>10253</p><u>80</u><wd>189</wd><wf>77</wf><r>13</r><vis>104595</vis><endl/>\n' +
        '</data>\n',
    );
    expect(response.status).toBe(200);
    expect(response.headers).toMatchObject({
      'Content-Type': 'text/html;charset=utf-8',
      'Content-Length': String(Buffer.byteLength(response.text)),
    });
  });

  it('escapes values', async () => {
    const { api } = await start();
    await fill();
    expect((await get(api, `${LOGIN}&intername=getzhobtcode`)).text).toContain(
      '<cityname>砀山&lt;&amp;&quot;&gt;</cityname>',
    );
  });

  it('takes parameters by their exact name, in any order, decoded', async () => {
    const { api } = await start();
    await fill();
    const between = 'endtime=2023%30706154400&xbegintime=1&begintime=20230706154400';
    const { text } = await get(api, `${between}&intername=getzhobtmind2&${LOGIN}`);
    expect(text.match(/<endl\/>/g)).toHaveLength(1);
    expect(text).toContain('<ddatetime>20230706154400</ddatetime>');
    const three = await get(
      api,
      `${LOGIN}&intername=getzhobtmind3&obtid=58102&begintime=20230101000000&endtime=20240101000000`,
    );
    expect(three.text.match(/<endl\/>/g)).toHaveLength(1);
  });

  it('binds NULL for a missing parameter', async () => {
    const { api } = await start();
    await fill();
    const { text } = await get(api, `${LOGIN}&intername=getzhobtmind1&obtidx=58015`);
    expect(text).toBe('<retcode>0</retcode><message>ok</message>\n<data>\n</data>\n');
  });

  it('always has status 200; the retcode tells', async () => {
    const { api } = await start();
    await fill();
    const texts: string[] = [];
    for (const query of [
      'username=demo&passwd=wrong&intername=getzhobtcode',
      'username=nobody&passwd=wrong&intername=getzhobtcode',
      `${LOGIN}&intername=nothing`,
    ]) {
      const response = await get(api, query);
      expect(response.status).toBe(200);
      texts.push(response.text);
    }
    const refused = '<retcode>-1</retcode><message>用户名或密码不正确。</message>';
    expect(texts).toEqual([
      refused,
      refused,
      '<retcode>-1</retcode><message>用户无权限，或接口不存在。</message>',
    ]);
  });

  it('tells the words of the database', async () => {
    const { api } = await start();
    await fill();
    await store.execute(
      `UPDATE T_INTERCFG SET selectsql = 'select absent from T_ZHOBTCODE' WHERE intername = 'getzhobtcode'`,
    );
    expect((await get(api, `${LOGIN}&intername=getzhobtcode`)).text).toBe(
      '<retcode>-1</retcode><message>no such column: absent</message>\n',
    );
    expect((await get(api, `${LOGIN}&intername=getzhobtmind2&begintime=yesterday&endtime=1`)).text).toContain(
      'is no time in the form yyyymmddhh24miss',
    );
    await store.execute(`UPDATE T_INTERCFG SET colstr = 'obtid' WHERE intername = 'getzhobtmind1'`);
    expect((await get(api, `${LOGIN}&intername=getzhobtmind1&obtid=58015`)).text).toContain('内部错误。');
  });
});

describe('other forms', () => {
  it('come by parameter or Accept, with the statuses of HTTP', async () => {
    const { api } = await start();
    await fill();
    const query = `${LOGIN}&intername=getzhobtmind1&obtid=58015`;
    const json = await get(api, query, { headers: { accept: 'text/html;q=0.5, application/json' } });
    expect(json.headers['Content-Type']).toBe('application/json; charset=utf-8');
    expect(JSON.parse(json.text)).toMatchObject({
      retcode: 0,
      data: [{ obtid: '58015', ddatetime: '20230706154300', t: 301 }, { t: null }],
    });
    const csv = await get(api, `${query}&format=csv`);
    expect(csv.text).toBe(
      'obtid,ddatetime,t,p,u,wd,wf,r,vis\r\n58015,20230706154300,301,10253,80,189,77,13,104595\r\n58015,20230706154400,,10253,80,189,77,13,104595\r\n',
    );
    const ndjson = await get(api, `${query}&format=ndjson`);
    expect(
      ndjson.text
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { t: number }).t),
    ).toEqual([301, null]);
    const statuses = [];
    for (const bad of [
      'intername=x',
      `${LOGIN}&intername=x`,
      LOGIN,
      `${LOGIN}&intername=getzhobtmind2&begintime=x`,
      'format=pdf',
    ]) {
      statuses.push((await get(api, bad, { headers: { accept: 'application/json' } })).status);
    }
    expect(statuses).toEqual([401, 403, 400, 400, 400]);
    const refused = await get(api, 'intername=x&format=json');
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'CREDENTIALS', requestId: 'r1' });
    expect(refused.headers['WWW-Authenticate']).toContain('Basic');
  });

  it('say when they were cut at the row limit', async () => {
    const { api, ctx } = await start({ row_limit: '2' });
    await fill();
    const query = `${LOGIN}&intername=getzhobtmind2&begintime=20230101000000&endtime=20240101000000`;
    expect(JSON.parse((await get(api, `${query}&format=json`)).text)).toMatchObject({
      truncated: true,
      limit: 2,
      data: [{}, {}],
    });
    expect((await get(api, query)).text).toMatch(/<endl\/>\n<\/data>\n<truncated>2<\/truncated>\n$/);
    expect(ctx.log.named('data-api.cut')).toHaveLength(2);
    expect(
      JSON.parse((await get(api, `${LOGIN}&intername=getzhobtmind1&obtid=58015&format=json`)).text),
    ).not.toHaveProperty('truncated');
  });
});

describe('access', () => {
  it('is given by the Authorization header, which wins over the URL', async () => {
    const { api } = await start({ query_form: 'no' });
    await fill();
    const ask = async (
      authorization: string,
      query = 'intername=getzhobtcode&format=json',
    ): Promise<number> =>
      (await get(api, query, { headers: authorization === '' ? {} : { authorization } })).status;
    const basic = `Basic ${Buffer.from(`demo:${PASSWORD}`).toString('base64')}`;
    expect(await ask(basic)).toBe(200);
    expect(await ask('Basic !!!')).toBe(401);
    expect(await ask('Bearer demo:wrong', `${LOGIN}&intername=getzhobtcode&format=json`)).toBe(401);
    expect(await ask('', `${LOGIN}&intername=getzhobtcode&format=json`)).toBe(401);
  });

  it('is bound to addresses, enabled users, enabled interfaces and grants', async () => {
    const { api } = await start();
    await fill();
    const ask = async (remoteAddress = '10.1.2.3'): Promise<number> =>
      (await get(api, `${LOGIN}&intername=getzhobtcode&format=json`, { remoteAddress })).status;
    const after = async (sql: string, address?: string): Promise<number> => {
      await store.execute(sql);
      return ask(address);
    };
    expect(await ask()).toBe(200);
    const ip = (list: string): string => `UPDATE T_USERINFO SET ip = '${list}'`;
    expect(await after(ip('192.168.0.1, 10.1.0.0/16'))).toBe(200);
    expect(await ask('::ffff:10.1.9.9')).toBe(200);
    expect(await after(ip('192.168.0.1;fd00::/8'))).toBe(403);
    expect(await ask('fd00::1')).toBe(200);
    expect(await after(ip('nonsense'))).toBe(403);
    expect(await after(`UPDATE T_USERINFO SET ip = NULL, rsts = 2`)).toBe(401);
    expect(await after(`UPDATE T_USERINFO SET rsts = 1`)).toBe(200);
    expect(await after(`UPDATE T_INTERCFG SET rsts = 2`)).toBe(403);
    await store.execute(`UPDATE T_INTERCFG SET rsts = 1`);
    expect(await after(`DELETE FROM T_USERANDINTER WHERE intername = 'getzhobtcode'`)).toBe(403);
  });

  it('checks a password once, until it changes', async () => {
    const { api } = await start();
    await fill();
    const verify = vi.spyOn(hasher, 'verify');
    const ask = (): Promise<FakeResponse> => get(api, `${LOGIN}&intername=getzhobtcode&format=json`);
    const first = await Promise.all([ask(), ask(), ask()]);
    expect(first.map((response) => response.status)).toEqual([200, 200, 200]);
    expect((await ask()).status).toBe(200);
    expect(verify).toHaveBeenCalledTimes(1);
    await store.execute('UPDATE T_USERINFO SET passwd = ?', [await hasher.hash('another')]);
    expect((await ask()).status).toBe(401);
  });

  it('ends for an address with too many wrong passwords, without checking them', async () => {
    const { api, ctx } = await start({ max_failures: '3' });
    await fill();
    const verify = vi.spyOn(hasher, 'verify');
    const ask = async (query: string, remoteAddress: string): Promise<number> =>
      (await get(api, `${query}&intername=getzhobtcode&format=json`, { remoteAddress })).status;
    const statuses = [];
    for (let i = 0; i < 5; i++) statuses.push(await ask(`username=demo&passwd=${i}`, '10.0.0.1'));
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(verify).toHaveBeenCalledTimes(3);
    expect(await ask(LOGIN, '10.0.0.2')).toBe(200);
    expect(ctx.log.named('data-api.wrong-password')).toHaveLength(1);
  });

  it('leaves no password in the log', async () => {
    const { api, ctx } = await start();
    await fill();
    await get(api, `${LOGIN}&intername=nothing`);
    await get(api, 'username=demo&passwd=hunter2hunter2&intername=getzhobtcode');
    await store.execute(`UPDATE T_INTERCFG SET selectsql = 'broken'`);
    await get(api, `${LOGIN}&intername=getzhobtcode`);
    expect(ctx.log.events.length).toBeGreaterThan(1);
    expect(JSON.stringify(ctx.log.events)).not.toMatch(/hunter2|horse/);
  });
});

describe('the service', () => {
  it('writes answered calls to T_USERLOG in a batch, and removes old ones', async () => {
    const { api, ctx } = await start();
    await fill();
    await store.execute(
      `INSERT INTO T_USERLOG (username, intername, upttime) VALUES ('demo', 'old', '2001-01-01 00:00:00')`,
    );
    await get(api, `${LOGIN}&intername=getzhobtmind1&obtid=58015`);
    await get(api, `${LOGIN}&intername=nothing`);
    await ctx.turn(api);
    expect(await rowsOf('SELECT username, intername, ip, rpc FROM T_USERLOG')).toEqual([
      ['demo', 'getzhobtmind1', '127.0.0.1', 2],
    ]);
  });

  it('makes the demo rows once and respects what an operator changed', async () => {
    await start();
    await fill();
    await store.execute(`UPDATE T_INTERCFG SET memo = 'mine'`);
    await store.execute(`DELETE FROM T_USERANDINTER WHERE intername = 'getzhobtcode'`);
    await start({ demo_password: 'something else' });
    expect(await rowsOf('SELECT count(*), min(memo) FROM T_INTERCFG')).toEqual([[4, 'mine']]);
    expect(await rowsOf('SELECT count(*) FROM T_USERANDINTER')).toEqual([[3]]);
    expect(await rowsOf('SELECT count(*) FROM T_USERINFO')).toEqual([[1]]);
    expect(() => new DataApi(new FakeContext(paramsOf(dataApiKeys, { demo: 'yes' })), hasher)).toThrow(
      'demo_password',
    );
  });

  it('streams a long answer at the pace of the client and refuses what is too much at once', async () => {
    const { api } = await start({ max_requests: '1' });
    await fill();
    const columns = ['obtid', 'cityname', 'provname', 'lat', 'lon', 'height'];
    const rows = Array.from({ length: 5_000 }, (_, i) => [
      String(i),
      'x'.repeat(30),
      'y'.repeat(30),
      i,
      i,
      i,
    ]);
    await store.batch(store.dialect.insert('T_ZHOBTCODE', columns), rows, { onDuplicate: 'skip' });
    const slow = new FakeResponse();
    slow.hold = true;
    api.request(fakeRequest(`${LOGIN}&intername=getzhobtcode`), slow);
    await vi.waitFor(() => expect(slow.chunks).toHaveLength(1), { timeout: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(slow.chunks).toHaveLength(1);
    expect(slow.headers).not.toHaveProperty('Content-Length');
    const other = await get(api, `${LOGIN}&intername=getzhobtcode&format=json`);
    expect([other.status, other.headers['Retry-After']]).toEqual([503, '1']);
    slow.release();
    await vi.waitFor(() => expect(slow.ended).toBe(true), { timeout: 10_000 });
    expect(slow.text.match(/<endl\/>/g)).toHaveLength(5_001);
    expect(slow.chunks.length).toBeGreaterThan(5);
    expect(slow.text.endsWith('</data>\n')).toBe(true);
  });

  it('gives up a client that does not take its rows, or that has gone', async () => {
    const { api, ctx } = await start({ client_timeout: '1s' });
    await fill();
    const rows = Array.from({ length: 3_000 }, (_, i) => [String(i), 'x'.repeat(30)]);
    await store.batch(store.dialect.insert('T_ZHOBTCODE', ['obtid', 'cityname']), rows, {
      onDuplicate: 'skip',
    });
    const stuck = new FakeResponse();
    stuck.hold = true;
    api.request(fakeRequest(`${LOGIN}&intername=getzhobtcode`), stuck);
    await vi.waitFor(() => expect(stuck.ended).toBe(true), { timeout: 10_000 });
    expect(stuck.text.endsWith('</data>\n')).toBe(false);
    expect(ctx.log.named('data-api.broken')).toHaveLength(1);
    expect(stuck.wasCut).toBe(true);
    const gone = new FakeResponse();
    gone.aborted = true;
    api.request(fakeRequest(`${LOGIN}&intername=getzhobtcode`), gone);
    await vi.waitFor(() => expect(gone.ended).toBe(true), { timeout: 10_000 });
    expect(gone.chunks.length).toBeLessThan(3);
  });

  it('starts without its database and answers as soon as it is there', async () => {
    await mkdir(join(root, 'data.db'));
    const { api } = await start();
    expect((await get(api, `${LOGIN}&intername=getzhobtcode&format=json`)).status).toBe(503);
    await rm(join(root, 'data.db'), { recursive: true });
    expect((await get(api, `${LOGIN}&intername=getzhobtcode&format=json`)).status).toBe(200);
    await fill();
  });
});
