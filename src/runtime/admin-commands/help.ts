import { textTable } from '../text-table.js';
import { noMore, show, type AdminCommand } from './command.js';

/** @param all the command table; a parameter because the table holds this command too. */
export function helpCommand(all: () => readonly AdminCommand[]): AdminCommand {
  return {
    name: 'help',
    usage: '',
    help: 'this list',
    run(args) {
      noMore(args, 0);
      const commands = all();
      const rows = commands.map((c) => [`${c.name} ${c.usage}`.trimEnd(), c.help] as const);
      rows.push(['json on|off', 'answers of this connection in JSON, or text again']);
      rows.push(['json COMMAND', 'one answer in JSON']);
      return show(
        commands.map(({ name, usage, help }) => ({ name, usage, help })),
        textTable([['COMMAND'], ['WHAT IT DOES']], rows),
      );
    },
  };
}
