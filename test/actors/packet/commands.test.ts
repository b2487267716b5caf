import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commandTable, COMMANDS } from '../../../src/actors/packet/commands/index.js';
import { ping } from '../../../src/actors/packet/commands/ping.js';

describe('the table of packet commands', () => {
  it('has a line for every file', () => {
    const files = readdirSync(new URL('../../../src/actors/packet/commands', import.meta.url));
    const names = files.filter((file) => file !== 'index.ts').map((file) => file.replace(/\.ts$/, ''));
    expect(COMMANDS.map(({ name }) => name).sort()).toEqual(names.sort());
  });

  it('finds a command by its code', () => {
    const table = commandTable(COMMANDS);
    for (const command of COMMANDS) expect(table[command.code]).toBe(command);
    for (const reserved of [1, 2, 3, 4]) expect(table[reserved]).toBeUndefined();
  });

  it('refuses two commands with one code', () => {
    expect(() => commandTable([ping, { ...ping, name: 'pong' }])).toThrow(/ping and pong share the code 0/);
  });
});
