/** Certificate and key of a TLS listener, read and checked together. Any thread. */
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { reasonOf, SwitchyardError } from './errors.js';

export interface TlsPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * @param listener for the error text
 * @throws SwitchyardError NET_TLS when a file cannot be read or the two do not fit
 */
export async function loadTls(listener: string, certFile: string, keyFile: string): Promise<TlsPair> {
  const read = async (file: string): Promise<Buffer> => {
    try {
      return await readFile(file);
    } catch (cause) {
      throw new SwitchyardError('NET_TLS', { listener, file, reason: reasonOf(cause) }, { cause });
    }
  };
  const pair = { cert: await read(certFile), key: await read(keyFile) };
  try {
    createSecureContext(pair);
  } catch (cause) {
    const reason = reasonOf(cause);
    throw new SwitchyardError(
      'NET_TLS',
      { listener, file: `${certFile} with ${keyFile}`, reason },
      { cause },
    );
  }
  return pair;
}
