/**
 * Reject files: the refused records of one file, as they stood, with line and reason before each. They are row XML
 * themselves, so once mended they can be read again. Worker thread.
 */
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import iconv from 'iconv-lite';
import { TEMP_SUFFIX, writeFileAtomic } from '../../../runtime/atomic-file.js';
import type { BadBytes } from '../../../protocol/rowxml-tab.js';

export const REJECT_SUFFIX = '.reject';

/** `ZHOBTMIND_1.xml.0123456789ab.reject`: a repetition with the same content replaces it, other content does not. */
export function rejectName(file: string, hash: string): string {
  return `${file}.${hash.slice(0, 12)}${REJECT_SUFFIX}`;
}

/** The file the rejects came from. */
export function originOf(rejectFile: string): string {
  return rejectFile.replace(/(?:\.[0-9a-f]{12}\.reject)+$/, '');
}

/** @param charset of the records, a name of the WHATWG list. */
export function rejectText(
  file: string,
  stage: string,
  rejects: readonly BadBytes[],
  charset: string,
): Buffer {
  const comment = (text: string): Buffer =>
    iconv.encode(`<!-- ${plain(text)} -->\n`, iconv.encodingExists(charset) ? charset : 'latin1');
  const newline = Buffer.from('\n');
  return Buffer.concat([
    comment(
      `rows of ${file} that were refused; mend or remove them, then: switchyard stage replay-rejects ${stage} CONF`,
    ),
    Buffer.from('<data>\n'),
    ...rejects.flatMap(({ line, reason, record }) => [
      comment(`line ${line}: ${reason}`),
      trimmed(record),
      newline,
    ]),
    Buffer.from('</data>\n'),
  ]);
}

/** Durable when it returns. @returns the path. @throws the system's error */
export async function writeRejects(
  folder: string,
  file: string,
  stage: string,
  hash: string,
  rejects: readonly BadBytes[],
  charset: string,
): Promise<string> {
  const path = join(folder, rejectName(file, hash));
  await writeFileAtomic(path, rejectText(file, stage, rejects, charset));
  return path;
}

/** Nothing that could end the comment or look like a tag. */
function plain(text: string): string {
  return text
    .replaceAll('<', '(')
    .replaceAll('>', ')')
    .replace(/--+/g, '-')
    .replace(/\p{Cc}+/gu, ' ')
    .replace(/-$/, '');
}

/** Without the line ends around it, our own comments before it, and what closes a file. */
function trimmed(record: Buffer): Buffer {
  const text = record
    .toString('latin1')
    .replace(/^(?:\s|<!--(?:(?!-->)[^])*-->|<data>|<\?xml[^<>]*\?>)+/, '')
    .replace(/\s+$|\s*<\/data>\s*$/, '');
  return Buffer.from(text, 'latin1');
}

/** Removes what killed writers of reject files left behind and nobody has touched for `olderThanMs`. Never throws. */
export async function sweepRejects(folder: string, olderThanMs: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.includes(`${REJECT_SUFFIX}.`) || !name.endsWith(TEMP_SUFFIX)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined && Date.now() - info.mtimeMs > olderThanMs)
      await unlink(path).catch(() => undefined);
  }
}
