/**
 * A private MariaDB for benches, set up like a production server: every commit written to the disk, 1 GB of pool, LOAD DATA
 * LOCAL allowed. Its data lie in the folder of the bench and go with it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, ServerProcess } from './server-process.js';

const SERVER = 'mariadbd';

function find(program: string): string | undefined {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], {
      encoding: 'utf8',
      env: { ...process.env, PATH: path },
    }).trim();
  } catch {
    return undefined;
  }
}

/** Why there can be no database here; for `Contestant.missing`. */
export function databaseMissing(): string | undefined {
  const lacking = [SERVER, 'mariadb', 'mariadb-install-db'].filter((program) => find(program) === undefined);
  return lacking.length === 0
    ? undefined
    : `${lacking.join(', ')} not installed (Debian: apt-get install mariadb-server)`;
}

export interface ClientRun {
  readonly seconds: number;
  readonly output: string;
}

export class BenchDatabase {
  private constructor(
    private readonly server: ServerProcess,
    private readonly password: string,
    readonly name: string,
  ) {}

  /** @param dir an empty folder; removed by the caller after `stop` */
  static async start(dir: string): Promise<BenchDatabase> {
    const data = join(dir, 'data');
    const init = join(dir, 'init.sql');
    const password = randomBytes(8).toString('hex');
    const name = 'bench';
    chmodSync(dir, 0o711);
    mkdirSync(data);
    writeFileSync(
      init,
      `SET PASSWORD FOR root@127.0.0.1 = PASSWORD('${password}');\nCREATE DATABASE IF NOT EXISTS ${name};\n`,
      { mode: 0o644 },
    );
    const asRoot = process.getuid?.() === 0;
    const user = asRoot ? ['--user=mysql'] : [];
    if (asRoot) {
      const id = (flag: string): number => Number(execFileSync('id', [flag, 'mysql'], { encoding: 'utf8' }));
      for (const path of [dir, data]) chownSync(path, id('-u'), id('-g'));
    }
    execFileSync(
      find('mariadb-install-db') ?? '',
      [
        '--no-defaults',
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        `--datadir=${data}`,
        ...user,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const port = await freePort();
    const server = await ServerProcess.start({
      command: find(SERVER) ?? '',
      args: [
        '--no-defaults',
        ...user,
        `--datadir=${data}`,
        `--socket=${join(dir, 'socket')}`,
        `--pid-file=${join(dir, 'pid')}`,
        `--tmpdir=${dir}`,
        `--init-file=${init}`,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        '--skip-name-resolve',
        '--skip-log-bin',
        '--character-set-server=utf8mb4',
        '--local-infile=1',
        '--innodb-buffer-pool-size=1G',
        '--innodb-log-file-size=512M',
        '--innodb-flush-log-at-trx-commit=1',
        '--max-allowed-packet=64M',
      ],
      cwd: dir,
      ports: [port],
      timeoutMs: 60_000,
    });
    return new BenchDatabase(server, password, name);
  }

  get url(): string {
    return `mysql://root:${this.password}@127.0.0.1:${this.server.port}/${this.name}`;
  }

  get pid(): number {
    return this.server.pid;
  }

  async stop(): Promise<void> {
    await this.server.stop();
  }

  /**
   * Runs statements in the C client, timed from its start to its end. @param discard throw the rows away as they come, as a dump to
   * a fast disk would. @throws Error with what it said
   */
  async client(sql: string, { discard = false }: { readonly discard?: boolean } = {}): Promise<ClientRun> {
    const began = performance.now();
    const child = spawn(
      find('mariadb') ?? '',
      [
        '--no-defaults',
        '--host=127.0.0.1',
        `--port=${this.server.port}`,
        '--user=root',
        '--default-character-set=utf8mb4',
        '--local-infile=1',
        '--quick',
        '--batch',
        '--skip-column-names',
        `--execute=${sql}`,
        this.name,
      ],
      {
        env: { ...process.env, MYSQL_PWD: this.password },
        stdio: ['ignore', discard ? 'ignore' : 'pipe', 'pipe'],
      },
    );
    let output = '';
    let errors = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (code !== 0) throw new Error(`mariadb: ${errors}`);
    return { seconds: (performance.now() - began) / 1000, output };
  }

  /** Waits until the server has cleaned up behind the transactions so far, which would be charged to whoever comes next. */
  async settled(): Promise<void> {
    const waiting = `SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'`;
    for (let tries = 0; tries < 300; tries++) {
      if (Number((await this.client(waiting)).output) < 100) return;
      await sleep(200);
    }
    throw new Error('the server has not cleaned up in a minute');
  }

  /** Makes an empty table of observations (spec data-centre 4.3) in place of what was there. */
  async createObservations(table: string): Promise<void> {
    await this.client(
      `DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} (
       obtid VARCHAR(10) NOT NULL, ddatetime DATETIME NOT NULL, t INT, p INT, u INT, wd INT, wf INT, r INT, vis INT,
       upttime TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, keyid BIGINT NOT NULL AUTO_INCREMENT,
       PRIMARY KEY (obtid, ddatetime), UNIQUE KEY keyid (keyid)) ENGINE=InnoDB`,
    );
  }

  /** The same rows in every run: 1,000 stations, minute after minute, some values missing. `keyid` counts from 1. */
  async fillObservations(table: string, rows: number): Promise<void> {
    await this.createObservations(table);
    await this.client(
      `INSERT INTO ${table} (${OBSERVATION_COLUMNS.join(', ')}) ${observationSelect(rows)}; ANALYZE TABLE ${table}`,
    );
  }
}

export const OBSERVATION_COLUMNS = ['obtid', 'ddatetime', 't', 'p', 'u', 'wd', 'wf', 'r', 'vis'] as const;

const value = (salt: number, range: number, from: number): string =>
  `IF((seq + ${salt}) % 29 = 0, NULL, CAST(CRC32(seq * 8 + ${salt}) % ${range} AS SIGNED) + ${from})`;

/** A select that makes `rows` observations out of nothing, by MariaDB's sequence engine. */
export function observationSelect(rows: number): string {
  return `SELECT CONCAT('5', 8000 + seq % 1000), TIMESTAMP'2024-01-01 00:00:00' + INTERVAL seq DIV 1000 MINUTE,
    ${value(1, 600, -200)}, ${value(2, 1500, 9000)}, ${value(3, 101, 0)}, ${value(4, 360, 0)}, ${value(5, 400, 0)},
    ${value(6, 300, 0)}, ${value(7, 300_000, 0)} FROM seq_0_to_${rows - 1} ORDER BY seq`;
}

/** The same table for SQLite. */
export function sqliteObservations(table: string): string {
  return `CREATE TABLE ${table} (obtid VARCHAR(10) NOT NULL, ddatetime DATETIME NOT NULL, t INT, p INT, u INT, wd INT, wf INT,
    r INT, vis INT, upttime DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (obtid, ddatetime))`;
}
