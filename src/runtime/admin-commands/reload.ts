import { noMore, type AdminCommand } from './command.js';

export const reload: AdminCommand = {
  name: 'reload',
  usage: '',
  help: 'reads the conf again, applies the difference and prints it; a bad conf is refused',
  async run(args, control) {
    noMore(args, 0);
    const outcome = await control.reload();
    const lines = outcome.ok
      ? outcome.changes.length > 0
        ? outcome.changes
        : ['nothing changed']
      : ['refused, the old conf still runs:', ...outcome.problems];
    return { ok: outcome.ok, data: outcome, text: lines.join('\n') };
  },
};
