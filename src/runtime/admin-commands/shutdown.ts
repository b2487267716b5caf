import { fromOutcome, noMore, type AdminCommand } from './command.js';

export const shutdown: AdminCommand = {
  name: 'shutdown',
  usage: '',
  help: 'ordered stop of the whole process (as TERM)',
  async run(args, control) {
    noMore(args, 0);
    return fromOutcome(await control.shutdown('admin'));
  },
};
