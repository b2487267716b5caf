import { fromOutcome, noMore, type AdminCommand } from './command.js';

export const drain: AdminCommand = {
  name: 'drain',
  usage: '',
  help: 'stops accepting, finishes what is queued, then leaves (as USR2)',
  async run(args, control) {
    noMore(args, 0);
    return fromOutcome(await control.drain());
  },
};
