/**
 * A table made like another one: columns, defaults, keys and indexes, but no foreign keys, triggers, sequences or rows; nor does it
 * make numbers of its own, except in SQLite. Any thread.
 */
import { StoreError, type Dialect, type Store, type TableInfo } from './driver.js';
import { spell } from './postgres/dialect.js';

/**
 * @param target where it is made, if that is another database: the same kind of SQLite or MySQL; others have no portable text
 * @throws StoreError; SYNTAX when it cannot be made there
 */
export async function createLike(source: Store, from: string, to: string, target?: Store): Promise<void> {
  const { dialect } = source;
  if (
    target !== undefined &&
    (target.dialect.name !== dialect.name || !/^(mysql|sqlite)$/.test(dialect.name))
  ) {
    throw new StoreError(
      'SYNTAX',
      `the table ${to} is missing in the other database and has to be made there by hand`,
    );
  }
  const statements = await statementsFor(source, from, to, target !== undefined);
  for (const statement of statements) await (target ?? source).execute(statement);
}

async function statementsFor(store: Store, from: string, to: string, elsewhere: boolean): Promise<string[]> {
  const { dialect } = store;
  const quoted = (name: string): string => dialect.quoteIdentifier(name);
  switch (dialect.name) {
    case 'mysql':
      return mysqlStatements(store, from, to, elsewhere);
    case 'postgres': {
      // A sequence that belongs to the old table would keep it from being dropped.
      const own = await ownValues(store, from);
      return [
        `CREATE TABLE IF NOT EXISTS ${quoted(to)} (LIKE ${quoted(from)} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING GENERATED)`,
        ...own.map((name) => `ALTER TABLE ${quoted(to)} ALTER COLUMN ${quoted(name)} DROP DEFAULT`),
      ];
    }
    case 'sqlite':
      return sqliteStatements(store, from, to);
    default:
      return [...emptyCopy(dialect, from, to), ...keyStatements(dialect, await store.columns(from), to)];
  }
}

/** Columns the database computes from others: nothing can be written into them. Names as in `columns`. */
export async function computedColumns(store: Store, table: string): Promise<ReadonlySet<string>> {
  const at = table.lastIndexOf('.');
  const schema = at < 0 ? null : table.slice(0, at);
  const name = table.slice(at + 1);
  const ask = async (sql: string, binds: readonly (string | null)[]): Promise<string[]> =>
    (await store.query(sql, binds)).rows.map((row) => String(row[0]));
  switch (store.dialect.name) {
    case 'mysql':
      return new Set(
        await ask(
          `SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(?, DATABASE())
           AND TABLE_NAME = ? AND EXTRA REGEXP '(VIRTUAL|STORED|PERSISTENT)'`,
          [schema, name],
        ),
      );
    case 'postgres': {
      const sql = `SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(?) AND attgenerated <> ''`;
      return new Set((await ask(sql, [store.dialect.quoteIdentifier(table)])).map(spell));
    }
    case 'sqlite':
      return new Set(
        await ask('SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden IN (2, 3)', [
          name,
          schema ?? 'main',
        ]),
      );
    case 'oracle':
      return new Set(
        await ask(
          `SELECT column_name FROM all_tab_cols WHERE owner = NVL(?, SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA'))
           AND table_name = ? AND virtual_column = 'YES'`,
          [schema?.toUpperCase() ?? null, name.toUpperCase()],
        ),
      );
    default:
      return new Set(
        await ask('SELECT name FROM sys.computed_columns WHERE object_id = OBJECT_ID(?)', [table]),
      );
  }
}

/** MySQL's line for a column that counts: in front of AUTO_INCREMENT no text can stand. */
const COUNTING = /^ {2}(`(?:[^`]|``)*` [^'\n]*?) AUTO_INCREMENT\b(.*?)(?=,?$)/m;

/**
 * A column does not count in the copy: MariaDB lets only one INSERT ... SELECT at a time into a table that makes numbers, also
 * when it is given them.
 */
async function mysqlStatements(
  store: Store,
  from: string,
  to: string,
  elsewhere: boolean,
): Promise<string[]> {
  const { dialect } = store;
  const source = dialect.quoteIdentifier(from);
  const target = dialect.quoteIdentifier(to);
  const { rows } = await store.query(`SHOW CREATE TABLE ${source}`);
  const text = String(rows[0]?.[1] ?? '');
  if (elsewhere) {
    // The server's own text, without references to other tables.
    const body = text.slice(text.indexOf('(')).replace(COUNTING, '  $1$2');
    const kept = body.replace(/,\n\s*CONSTRAINT [^\n]* FOREIGN KEY [^\n]*?(?=,?\n)/g, '');
    return [`CREATE TABLE IF NOT EXISTS ${target} ${kept}`];
  }
  // Not by the text: names of its constraints would be there twice.
  const like = `CREATE TABLE IF NOT EXISTS ${target} LIKE ${source}`;
  const counting = COUNTING.exec(text);
  if (counting === null) return [like];
  return [like, `ALTER TABLE ${target} MODIFY ${counting[1] ?? ''}${counting[2] ?? ''}`];
}

async function ownValues(store: Store, table: string): Promise<string[]> {
  const computed = await computedColumns(store, table);
  const { columns } = await store.columns(table);
  return columns.filter(({ name, generated }) => generated && !computed.has(name)).map(({ name }) => name);
}

const NAME = String.raw`("(?:[^"]|"")*"|\`[^\`]*\`|\[[^\]]*\]|'[^']*'|[^\s(]+)`;

/** SQLite keeps the statements a table and its indexes were made by; only the names change. */
async function sqliteStatements(store: Store, from: string, to: string): Promise<string[]> {
  const { dialect } = store;
  const at = from.indexOf('.');
  const schema = at < 0 ? '' : `${dialect.quoteIdentifier(from.slice(0, at))}.`;
  const { rows } = await store.query(
    `SELECT type, name, sql FROM ${schema}sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL
     AND type IN ('table', 'index') ORDER BY type DESC`,
    [from.slice(at + 1)],
  );
  const [, plain = to] = /(?:^|\.)([^.]+)$/.exec(to) ?? [];
  return rows.map(([type, name, sql]) => {
    const text = String(sql);
    if (type === 'table') {
      const head = new RegExp(String.raw`^CREATE\s+TABLE\s+${NAME}`, 'i');
      return text.replace(head, () => `CREATE TABLE IF NOT EXISTS ${dialect.quoteIdentifier(to)}`);
    }
    const head = new RegExp(String.raw`^CREATE\s+(UNIQUE\s+)?INDEX\s+${NAME}\s+ON\s+${NAME}`, 'i');
    const index = dialect.quoteIdentifier(`${plain}_${String(name)}`);
    const on = dialect.quoteIdentifier(plain);
    return text.replace(
      head,
      (_, unique = '') => `CREATE ${String(unique)}INDEX IF NOT EXISTS ${index} ON ${on}`,
    );
  });
}

function emptyCopy(dialect: Dialect, from: string, to: string): string[] {
  const source = dialect.quoteIdentifier(from);
  const target = dialect.quoteIdentifier(to);
  if (dialect.name === 'oracle') return [`CREATE TABLE ${target} AS SELECT * FROM ${source} WHERE 1 = 0`];
  // The union makes an identity column a plain one.
  return [`SELECT TOP 0 * INTO ${target} FROM ${source} UNION ALL SELECT TOP 0 * FROM ${source}`];
}

function keyStatements(dialect: Dialect, info: TableInfo, to: string): string[] {
  const list = (names: readonly string[]): string =>
    names.map((name) => dialect.quoteIdentifier(name)).join(', ');
  const add = (kind: string, names: readonly string[]): string =>
    `ALTER TABLE ${dialect.quoteIdentifier(to)} ADD ${kind} (${list(names)})`;
  return [
    ...(info.primaryKey.length > 0 ? [add('PRIMARY KEY', info.primaryKey)] : []),
    ...info.uniqueKeys.map((names) => add('UNIQUE', names)),
  ];
}
