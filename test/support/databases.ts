/** The databases that tests of tables and stages run on: SQLite always, MariaDB and PostgreSQL where they are installed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { have, mariadb, postgres } from './servers.js';

export interface TestDatabase {
  readonly name: string;
  readonly present: boolean;
  /** URL of a fresh, empty one. */
  readonly fresh: () => Promise<string>;
  /** Removes what `fresh` made, as far as the end of the run does not. */
  readonly clean: () => void;
}

const folders: string[] = [];

export const DATABASES: readonly TestDatabase[] = [
  {
    name: 'SQLite',
    present: true,
    fresh: async () => {
      const folder = mkdtempSync(join(tmpdir(), 'database-'));
      folders.push(folder);
      return `sqlite:${join(folder, 'data.db')}`;
    },
    clean: () => {
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    },
  },
  { name: 'MariaDB', present: have.mariadb, fresh: mariadb, clean: () => undefined },
  { name: 'PostgreSQL', present: have.postgres, fresh: postgres, clean: () => undefined },
];
