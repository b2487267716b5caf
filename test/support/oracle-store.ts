/** An Oracle store on a fake driver. */
import { StoreError, type Store, type StoreOptions } from '../../src/store/driver.js';
import { openOracle } from '../../src/store/oracle.js';
import type { FakeOracle } from './fake-oracledb.js';

export const URL = 'oracle://scott:ti%40ger@db.example:1521/orcl';
export const utf8 = (...lines: string[]): Uint8Array[] => lines.map((line) => Buffer.from(`${line}\n`));
export const ora = (number: number): { code: string; errorNum: number } => ({
  code: `ORA-${String(number).padStart(5, '0')}`,
  errorNum: number,
});

export async function opened(fake: FakeOracle, options: StoreOptions = {}): Promise<Store> {
  fake.answers.unshift({
    match: /^SELECT 1 FROM DUAL$/,
    answer: { columns: [{ name: '1', type: 'NUMBER' }], rows: [['1']] },
  });
  return openOracle(URL, options, fake.load);
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('it worked'),
    (thrown: unknown) => thrown,
  );
  return error instanceof StoreError ? error.code : String(error);
}
