import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const restart: AdminCommand = {
  name: 'restart',
  usage: 'ACTOR',
  help: 'restarts an actor; its mailbox is kept',
  async run(args, control) {
    return fromOutcome(await control.restart(oneArgument(args, 'the actor')));
  },
};
