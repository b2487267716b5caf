/** How each database server is set up for tests: small, quick to start, and true to a production server in what tests can see. */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { findProgram } from './find-program.mjs';
import type { ServerProcess, ServerRecipe } from './server-process.js';

function program(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}

const data = ({ folder }: ServerProcess): string => join(folder, 'data');

/** Names of the server's certificate and key in its folder; it offers TLS to who asks for it. */
export const CERTIFICATE = 'server.crt';
const KEY = 'server.key';

function makeCertificate(server: ServerProcess): void {
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  server.run('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', KEY, '-out', CERTIFICATE]);
}

export const MARIADB: ServerRecipe = {
  name: 'mariadb',
  user: 'mysql',
  prepare: (server) => {
    makeCertificate(server);
    server.run(program('mariadb-install-db'), [
      '--no-defaults',
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--innodb-log-file-size=32M',
      `--datadir=${data(server)}`,
    ]);
    writeFileSync(
      join(server.folder, 'init.sql'),
      `SET PASSWORD FOR root@127.0.0.1 = PASSWORD('${server.password}');\n`,
    );
  },
  command: (server) => [
    program('mariadbd'),
    '--no-defaults',
    `--datadir=${data(server)}`,
    `--socket=${join(server.folder, 'socket')}`,
    `--pid-file=${join(server.folder, 'pid')}`,
    `--tmpdir=${server.folder}`,
    `--init-file=${join(server.folder, 'init.sql')}`,
    `--port=${String(server.port)}`,
    `--ssl-cert=${join(server.folder, CERTIFICATE)}`,
    `--ssl-key=${join(server.folder, KEY)}`,
    '--bind-address=127.0.0.1',
    '--skip-name-resolve',
    '--skip-log-bin',
    '--character-set-server=utf8mb4',
    '--collation-server=utf8mb4_general_ci',
    '--local-infile=1',
    '--performance-schema=off',
    '--max-connections=300',
    '--max-allowed-packet=64M',
    '--innodb-buffer-pool-size=128M',
    '--innodb-log-file-size=32M',
    // Written at every commit as in production, so a killed server loses nothing; only the disk itself is not waited for.
    '--innodb-flush-log-at-trx-commit=1',
    '--innodb-flush-method=nosync',
  ],
  probe: async ({ port, password }) => {
    const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root', password });
    await connection.end();
  },
};

export const POSTGRES: ServerRecipe = {
  name: 'postgres',
  user: 'postgres',
  prepare: (server) => {
    makeCertificate(server);
    const secret = join(server.folder, 'password');
    writeFileSync(secret, server.password, { mode: 0o644 });
    server.run(program('initdb'), [
      '--username=root',
      `--pwfile=${secret}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C.UTF-8',
      '--no-sync',
      `--pgdata=${data(server)}`,
    ]);
  },
  command: (server) => [
    program('postgres'),
    '-D',
    data(server),
    ...[
      `port=${String(server.port)}`,
      'listen_addresses=127.0.0.1',
      'ssl=on',
      `ssl_cert_file=${join(server.folder, CERTIFICATE)}`,
      `ssl_key_file=${join(server.folder, KEY)}`,
      `unix_socket_directories=${server.folder}`,
      // In the data folder: a killed server would leave segments in /dev/shm.
      'dynamic_shared_memory_type=mmap',
      'shared_buffers=64MB',
      'max_connections=200',
      // As with MariaDB: written at every commit, not waited for by the disk.
      'fsync=off',
      'full_page_writes=off',
    ].flatMap((setting) => ['-c', setting]),
  ],
  probe: async ({ port, password }) => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'root', password, database: 'postgres' });
    client.on('error', () => undefined);
    await client.connect();
    await client.end();
  },
};

export const REDIS: ServerRecipe = {
  name: 'redis',
  user: 'redis',
  prepare: () => undefined,
  // The title of the process does not show its arguments: the folder must be in that of the command for the sweep.
  command: (server) => [
    program('redis-server'),
    ...['--port', String(server.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    ...['--databases', '1000', '--set-proc-title', 'no', '--dir', server.folder],
  ],
  probe: ({ port }) =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
      socket.setTimeout(1000, () => socket.destroy(new Error('silent')));
      socket.once('error', reject).once('data', (answer) => {
        socket.destroy();
        if (answer.toString().startsWith('+PONG')) resolve();
        else reject(new Error(answer.toString()));
      });
    }),
};
