/** The demo user and the sample interfaces of spec data-centre 11.1, made when they are missing. Worker thread. */
import type { Store } from '../../../store/driver.js';
import type { PasswordHasher } from '../../../store/passwords.js';

const TYPES: readonly (readonly [typeid: string, parent: string | null, name: string])[] = [
  ['01', null, '气象资料'],
  ['0101', '01', '站点参数'],
  ['0102', '01', '站点观测数据'],
];

const COLUMNS = 'obtid,ddatetime,t,p,u,wd,wf,r,vis';
const OBSERVATIONS = `select obtid,to_char(ddatetime,'yyyymmddhh24miss'),t,p,u,wd,wf,r,vis from T_ZHOBTMIND where `;
const between = (first: number): string =>
  `ddatetime between to_date(:${first},'yyyymmddhh24miss') and to_date(:${first + 1},'yyyymmddhh24miss')`;
/** The primary key's order is by station; readers want the newest last. */
const ORDER = ' order by ddatetime,obtid';

const INTERFACES: readonly (readonly [intername: string, typeid: string, name: string, sql: string, columns: string, binds: string | null])[] = [
  [
    'getzhobtcode', '0101', '站点参数',
    'select obtid,cityname,provname,lat,lon,height from T_ZHOBTCODE', 'obtid,cityname,provname,lat,lon,height', null,
  ],
  ['getzhobtmind1', '0102', '观测数据（按站点）', `${OBSERVATIONS}obtid=:1${ORDER}`, COLUMNS, 'obtid'],
  ['getzhobtmind2', '0102', '观测数据（按时间）', `${OBSERVATIONS}${between(1)}${ORDER}`, COLUMNS, 'begintime,endtime'],
  [
    'getzhobtmind3', '0102', '观测数据（按站点和时间）',
    `${OBSERVATIONS}obtid=:1 and ${between(2)}${ORDER}`, COLUMNS, 'obtid,begintime,endtime',
  ],
]; // prettier-ignore

/**
 * Idempotent; leaves rows alone that are there, so that an operator's changes survive the next start.
 * @throws StoreError
 */
export async function seedDemo(
  store: Store,
  hasher: PasswordHasher,
  user: { name: string; password: string },
): Promise<void> {
  const known = await store.query('SELECT 1 FROM T_USERINFO WHERE username = ?', [user.name]);
  // Outside the transaction: hashing takes a quarter of a second.
  const hash = known.rows.length > 0 ? undefined : await hasher.hash(user.password);
  await store.transaction(async (tx) => {
    const add = async (
      table: string,
      columns: readonly string[],
      rows: readonly (readonly (string | null)[])[],
    ): Promise<void> => {
      const result = await tx.batch(store.dialect.insert(table, columns), rows, { onDuplicate: 'skip' });
      const [bad] = result.errors;
      if (bad !== undefined) throw new Error(`${table} refused a demo row: ${bad.message}`);
    };
    if (hash !== undefined)
      await add('T_USERINFO', ['username', 'passwd', 'appname'], [[user.name, hash, 'demo']]);
    await add('T_DATATYPE', ['typeid', 'ptypeid', 'typename'], TYPES);
    await add(
      'T_INTERCFG',
      ['intername', 'typeid', 'intercname', 'selectsql', 'colstr', 'bindin'],
      INTERFACES,
    );
    // An operator who took a grant away keeps it away.
    if (hash !== undefined)
      await add(
        'T_USERANDINTER',
        ['intername', 'username'],
        INTERFACES.map(([name]) => [name, user.name]),
      );
  });
}
