import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tabLine } from '../../src/protocol/tab-text.js';
import { openStore, type Store } from '../../src/store/driver.js';
import { CERTIFICATE } from '../support/server-recipes.js';
import { have, ownMariadb, ownPostgres, type OwnServer } from '../support/servers.js';

const ROWS = 30_000;

describe.each([
  {
    name: 'MariaDB',
    there: have.mariadb,
    own: ownMariadb,
    cipher: "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
  },
  {
    name: 'PostgreSQL',
    there: have.postgres,
    own: ownPostgres,
    cipher: 'SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
  },
])('$name over TLS', ({ there, own, cipher }) => {
  describe.skipIf(!there)('', () => {
    let server: OwnServer;
    let certificate: string;
    const open: Store[] = [];
    const opened = async (options: string): Promise<Store> => {
      const store = await openStore(`${server.url}${options}`);
      open.push(store);
      return store;
    };
    const cipherOf = async (store: Store): Promise<unknown> => (await store.query(cipher)).rows[0]?.[0];

    beforeAll(async () => {
      server = await own();
      certificate = join(server.folder, CERTIFICATE);
    }, 300_000);
    afterAll(async () => {
      await Promise.all(open.map((store) => store.close()));
      await server.stop();
    });

    it('is asked for by ssl=require and ssl=verify, and by nothing else', async () => {
      expect(await cipherOf(await opened('?ssl=require'))).toMatch(/^(TLS_|ECDHE-)/);
      expect(await cipherOf(await opened(`?ssl=verify&ca=${certificate}`))).toMatch(/^(TLS_|ECDHE-)/);
      expect([null, '']).toContain(await cipherOf(await opened('')));
    });

    it('does not trust another certificate, nor one for another name, and tells no secret', async () => {
      const other = join(server.folder, 'other.crt');
      const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
      const out = ['-subj', '/CN=127.0.0.1', '-keyout', join(server.folder, 'other.key'), '-out', other];
      execFileSync('openssl', ['req', '-x509', ...kind, ...out], { stdio: 'ignore' });
      const { password } = new URL(server.url);
      const byName = server.url.replace('127.0.0.1', 'localhost');
      const urls = [`${server.url}?ssl=verify`, `${server.url}?ssl=verify&ca=${other}`, `${byName}?ssl=verify&ca=${certificate}`]; // prettier-ignore
      for (const url of urls) {
        const refused = await openStore(url).catch((error: unknown) => error);
        expect(refused).toMatchObject({ code: 'OPEN', message: expect.stringMatching(/certificate|self.signed/i) as string }); // prettier-ignore
        expect(String(refused)).not.toContain(password);
      }
    });

    it('carries bulks in and streams out, the same rows as without', async () => {
      const store = await opened('?ssl=require');
      await store.execute('CREATE TABLE r (id INT PRIMARY KEY, a VARCHAR(100), b VARCHAR(20))');
      const lines = Array.from({ length: ROWS }, (_, i) =>
        tabLine([i, i % 7 === 0 ? null : `<${'亳'.repeat(i % 30)}>`, 'x'.repeat(i % 20)]),
      );
      const { rows } = await store.bulk('r', ['id', 'a', 'b'], [Buffer.from(lines.join(''))]);
      expect(rows).toBe(ROWS);
      const sql = 'SELECT id, a, b FROM r ORDER BY id';
      const read = async (from: Store): Promise<string> => {
        let text = '';
        for await (const batch of from.stream(sql)) text += JSON.stringify(batch.rows).slice(1, -1) + ',';
        const xml = { tags: ['id', 'a', 'b'], lengths: [], escape: true, values: [0] };
        for await (const { bytes } of from.streamXml?.(sql, [], xml) ?? []) text += bytes.toString();
        return text;
      };
      expect(await read(store)).toBe(await read(await opened('')));
      // The connection is sound behind a stream that was left in the middle.
      for await (const batch of store.stream(sql, [], { batchRows: 10 })) {
        expect(batch.rows).toHaveLength(10);
        break;
      }
      expect((await store.query('SELECT COUNT(*) FROM r')).rows.map(([n]) => Number(n))).toEqual([ROWS]);
    });
  });
});
