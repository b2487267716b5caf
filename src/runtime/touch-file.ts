/** A file whose time is its message. Any thread. */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Sets the file's time to now; makes it, and its folder, when missing. @throws the system's error */
export async function touchFile(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'a');
  const now = new Date();
  await file.utimes(now, now).finally(() => file.close());
}
