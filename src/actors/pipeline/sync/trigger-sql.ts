/**
 * The change log of a table and the triggers that fill it, as SQL of each database. An entry holds the key of the row alone: what
 * the row looks like is read when the entry is drained. A changed key leaves two entries, the old one and the new. The log's own
 * columns have names that a key hardly has: keys are often called `id`. Pure.
 */
import type { ColumnInfo, Dialect } from '../../../store/driver.js';
import { StageError } from '../stage/run.js';

export interface LogSpec {
  /** Name as given; may have a schema in front. */
  readonly table: string;
  readonly log: string;
  /** Key columns of the table. */
  readonly key: readonly ColumnInfo[];
}

export interface LogSql {
  /** In order; each can be repeated, or fails when it is there already. */
  readonly install: readonly string[];
  readonly remove: readonly string[];
}

/** @throws StageError for a database without one */
export function changeLogSql(dialect: Dialect, spec: LogSpec): LogSql {
  const make = MAKERS[dialect.name];
  if (make === undefined) throw new StageError(`no change log for ${dialect.name}`, false);
  const taken = spec.key.find(({ name }) => /^sync_(id|op|at)$/i.test(name));
  if (taken !== undefined)
    throw new StageError(
      `the key column ${taken.name} has a name that the change log needs for itself`,
      false,
    );
  const q = (name: string): string => dialect.quoteIdentifier(name);
  const keys = spec.key.map(({ name }) => q(name));
  return make({ ...spec, q, keys, names: triggerNames(spec.log) });
}

interface Making extends LogSpec {
  readonly q: (name: string) => string;
  readonly keys: readonly string[];
  readonly names: { readonly insert: string; readonly update: string; readonly delete: string };
}

/** In the schema of the table; 30 bytes is what old Oracle allows. */
function triggerNames(log: string): Making['names'] {
  const base = log.slice(0, log.lastIndexOf('.') + 1) + log.slice(log.lastIndexOf('.') + 1).slice(0, 26);
  return { insert: `${base}_ins`, update: `${base}_upd`, delete: `${base}_del` };
}

const values = (of: 'NEW' | 'OLD' | ':NEW' | ':OLD', keys: readonly string[]): string =>
  keys.map((key) => `${of}.${key}`).join(', ');

const MAKERS: Readonly<Record<string, (making: Making) => LogSql>> = {
  sqlite({ table, log, key, q, keys, names }) {
    const declared = key.map(({ name, type, length, scale }) => {
      const size =
        length === undefined ? '' : `(${[length, scale].filter((n) => n !== undefined).join(', ')})`;
      return `, ${q(name)} ${type}${size}`;
    });
    const add = (op: string, of: 'NEW' | 'OLD'): string =>
      `INSERT INTO ${q(log)} (sync_op, ${keys.join(', ')}) VALUES ('${op}', ${values(of, keys)});`;
    const moved = keys.map((key) => `OLD.${key} IS NOT NEW.${key}`).join(' OR ');
    const trigger = (name: string, event: string, body: string): string =>
      `CREATE TRIGGER IF NOT EXISTS ${q(name)} AFTER ${event} ON ${q(table)} BEGIN ${body} END`;
    return {
      install: [
        `CREATE TABLE IF NOT EXISTS ${q(log)} (sync_id INTEGER PRIMARY KEY AUTOINCREMENT, sync_op CHAR(1) NOT NULL, sync_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP${declared.join('')})`,
        trigger(names.insert, 'INSERT', add('I', 'NEW')),
        trigger(
          names.update,
          'UPDATE',
          `INSERT INTO ${q(log)} (sync_op, ${keys.join(', ')}) SELECT 'D', ${values('OLD', keys)} WHERE ${moved}; ${add('U', 'NEW')}`,
        ),
        trigger(names.delete, 'DELETE', add('D', 'OLD')),
      ],
      remove: [
        ...Object.values(names).map((name) => `DROP TRIGGER IF EXISTS ${q(name)}`),
        `DROP TABLE IF EXISTS ${q(log)}`,
      ],
    };
  },

  mysql({ table, log, q, keys, names }) {
    const add = (op: string, of: 'NEW' | 'OLD'): string =>
      `INSERT INTO ${q(log)} (sync_op, ${keys.join(', ')}) VALUES ('${op}', ${values(of, keys)});`;
    const same = keys.map((key) => `OLD.${key} <=> NEW.${key}`).join(' AND ');
    const trigger = (name: string, event: string, body: string): string =>
      `CREATE TRIGGER ${q(name)} AFTER ${event} ON ${q(table)} FOR EACH ROW BEGIN ${body} END`;
    return {
      install: [
        // The select gives the key's columns their exact types: unsigned, fractions, collations.
        `CREATE TABLE IF NOT EXISTS ${q(log)} (sync_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, sync_op CHAR(1) NOT NULL DEFAULT 'U', sync_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB AS SELECT ${keys.join(', ')} FROM ${q(table)} WHERE 1 = 0`,
        trigger(names.insert, 'INSERT', add('I', 'NEW')),
        trigger(
          names.update,
          'UPDATE',
          `IF NOT (${same}) THEN ${add('D', 'OLD')} END IF; ${add('U', 'NEW')}`,
        ),
        trigger(names.delete, 'DELETE', add('D', 'OLD')),
      ],
      remove: [
        ...Object.values(names).map((name) => `DROP TRIGGER IF EXISTS ${q(name)}`),
        `DROP TABLE IF EXISTS ${q(log)}`,
      ],
    };
  },

  postgres({ table, log, q, keys, names }) {
    const add = (op: string, of: 'NEW' | 'OLD'): string =>
      `INSERT INTO ${q(log)} (sync_op, ${keys.join(', ')}) VALUES (${op}, ${values(of, keys)});`;
    const moved = keys.map((key) => `OLD.${key} IS DISTINCT FROM NEW.${key}`).join(' OR ');
    // One function for the three events; the trigger's name has no schema of its own.
    const name = q(names.update.slice(names.update.lastIndexOf('.') + 1));
    const call = q(names.update);
    return {
      install: [
        `CREATE TABLE IF NOT EXISTS ${q(log)} AS SELECT ${keys.join(', ')} FROM ${q(table)} WHERE false`,
        `ALTER TABLE ${q(log)} ADD COLUMN IF NOT EXISTS sync_id BIGSERIAL PRIMARY KEY`,
        `ALTER TABLE ${q(log)} ADD COLUMN IF NOT EXISTS sync_op CHAR(1) NOT NULL DEFAULT 'U'`,
        `ALTER TABLE ${q(log)} ADD COLUMN IF NOT EXISTS sync_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP`,
        `CREATE OR REPLACE FUNCTION ${call}() RETURNS trigger LANGUAGE plpgsql AS $log$ BEGIN
          IF TG_OP = 'DELETE' THEN ${add("'D'", 'OLD')} RETURN NULL; END IF;
          IF TG_OP = 'UPDATE' AND (${moved}) THEN ${add("'D'", 'OLD')} END IF;
          ${add('left(TG_OP, 1)', 'NEW')} RETURN NULL; END $log$`,
        `CREATE TRIGGER ${name} AFTER INSERT OR UPDATE OR DELETE ON ${q(table)} FOR EACH ROW EXECUTE FUNCTION ${call}()`,
      ],
      remove: [
        `DROP TRIGGER IF EXISTS ${name} ON ${q(table)}`,
        `DROP FUNCTION IF EXISTS ${call}()`,
        `DROP TABLE IF EXISTS ${q(log)}`,
      ],
    };
  },

  oracle({ table, log, q, keys, names }) {
    const add = (op: string, of: ':NEW' | ':OLD'): string =>
      `INSERT INTO ${q(log)} (${q('sync_id')}, ${q('sync_op')}, ${keys.join(', ')}) VALUES (${q(`${log}_seq`)}.NEXTVAL, ${op}, ${values(of, keys)});`;
    const moved = keys
      .map((key) => `(:OLD.${key} <> :NEW.${key} OR (:OLD.${key} IS NULL AND :NEW.${key} IS NOT NULL))`)
      .join(' OR ');
    return {
      install: [
        `CREATE TABLE ${q(log)} AS SELECT ${keys.join(', ')} FROM ${q(table)} WHERE 1 = 0`,
        `ALTER TABLE ${q(log)} ADD (${q('sync_id')} NUMBER(19) NOT NULL PRIMARY KEY, ${q('sync_op')} CHAR(1) NOT NULL, ${q('sync_at')} DATE DEFAULT SYSDATE NOT NULL)`,
        `CREATE SEQUENCE ${q(`${log}_seq`)}`,
        `CREATE OR REPLACE TRIGGER ${q(names.update)} AFTER INSERT OR UPDATE OR DELETE ON ${q(table)} FOR EACH ROW BEGIN
          IF DELETING THEN ${add("'D'", ':OLD')} END IF;
          IF UPDATING AND (${moved}) THEN ${add("'D'", ':OLD')} END IF;
          IF UPDATING THEN ${add("'U'", ':NEW')} END IF;
          IF INSERTING THEN ${add("'I'", ':NEW')} END IF; END;`,
      ],
      remove: [`DROP TRIGGER ${q(names.update)}`, `DROP SEQUENCE ${q(`${log}_seq`)}`, `DROP TABLE ${q(log)}`],
    };
  },

  mssql({ table, log, q, keys, names }) {
    const list = keys.join(', ');
    const on = keys.map((key) => `i.${key} = d.${key}`).join(' AND ');
    return {
      install: [
        `SELECT ${list} INTO ${q(log)} FROM ${q(table)} WHERE 1 = 0 UNION ALL SELECT ${list} FROM ${q(table)} WHERE 1 = 0`,
        `ALTER TABLE ${q(log)} ADD sync_id BIGINT IDENTITY PRIMARY KEY, sync_op CHAR(1) NOT NULL, sync_at DATETIME2 NOT NULL DEFAULT SYSUTCDATETIME()`,
        `CREATE TRIGGER ${q(names.update)} ON ${q(table)} AFTER INSERT, UPDATE, DELETE AS BEGIN SET NOCOUNT ON;
          INSERT INTO ${q(log)} (sync_op, ${list}) SELECT 'D', ${keys.map((key) => `d.${key}`).join(', ')} FROM deleted d WHERE NOT EXISTS (SELECT 1 FROM inserted i WHERE ${on});
          INSERT INTO ${q(log)} (sync_op, ${list}) SELECT 'U', ${list} FROM inserted; END`,
      ],
      remove: [`DROP TRIGGER IF EXISTS ${q(names.update)}`, `DROP TABLE IF EXISTS ${q(log)}`],
    };
  },
};
