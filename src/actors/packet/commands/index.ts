/** Every packet command. A new one is a file here and a line below (docs/guides/add-a-packet-command.md). */
import type { PacketCommand } from '../command.js';
import { login } from './login.js';
import { ping } from './ping.js';
import { register } from './register.js';

export const COMMANDS: readonly PacketCommand[] = [ping, register, login];

/** Commands by code, for one look-up per packet. @throws Error when two share a code */
export function commandTable(commands: readonly PacketCommand[]): (PacketCommand | undefined)[] {
  const highest = Math.max(...commands.map(({ code }) => code));
  const table = new Array<PacketCommand | undefined>(highest + 1).fill(undefined);
  for (const command of commands) {
    const other = table[command.code];
    if (other !== undefined) {
      throw new Error(`packet commands ${other.name} and ${command.name} share the code ${command.code}`);
    }
    table[command.code] = command;
  }
  return table;
}
