/** Reads a password from standard input: from a terminal twice and without echo, from a pipe its first line. */
import { UsageFault, type CliIo } from './verb.js';

const MAX_BYTES = 4096;
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

/** @throws UsageFault: nothing given, too long, the two differ, or given up with Ctrl-C */
export async function readPassword(io: CliIo): Promise<string> {
  const { input } = io;
  if (input.isTTY !== true || input.setRawMode === undefined) return firstLine(io);
  input.setRawMode(true);
  try {
    const keys = keysOf(io);
    io.err('Password:');
    const first = await typedLine(keys);
    io.err('The same again:');
    const second = await typedLine(keys);
    if (first !== second) throw new UsageFault('the two passwords differ; nothing was changed');
    if (first === '') throw new UsageFault('an empty password; nothing was changed');
    return first;
  } finally {
    input.setRawMode(false);
  }
}

async function firstLine({ input }: CliIo): Promise<string> {
  let text = '';
  for await (const chunk of input) {
    text += chunk.toString();
    if (Buffer.byteLength(text) > MAX_BYTES)
      throw new UsageFault('the password on standard input is too long');
    if (text.includes('\n')) break;
  }
  const password = text.split(/\r?\n/, 1)[0] ?? '';
  if (password === '') throw new UsageFault('no password on standard input');
  return password;
}

/** One key (a whole character) after the other. */
async function* keysOf({ input }: CliIo): AsyncGenerator<string, void> {
  for await (const chunk of input) yield* chunk.toString();
}

async function typedLine(keys: AsyncGenerator<string, void>): Promise<string> {
  let typed: string[] = [];
  for (;;) {
    const { value: key, done } = await keys.next();
    if (done === true || key === CTRL_C || key === CTRL_D)
      throw new UsageFault('given up; nothing was changed');
    if (key === '\r' || key === '\n') return typed.join('');
    if (key === '\u007f' || key === '\b') typed = typed.slice(0, -1);
    else typed.push(key);
    if (typed.length > MAX_BYTES) throw new UsageFault('the password is too long');
  }
}
