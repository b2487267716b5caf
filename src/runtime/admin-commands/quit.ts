import { noMore, type AdminCommand } from './command.js';

export const quit: AdminCommand = {
  name: 'quit',
  usage: '',
  help: 'closes this admin connection; the server goes on',
  run(args) {
    noMore(args, 0);
    return { ok: true, data: 'bye', text: 'bye', close: true };
  },
};
