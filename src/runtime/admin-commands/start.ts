import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const start: AdminCommand = {
  name: 'start',
  usage: 'ACTOR',
  help: 'starts a stopped or failed actor',
  async run(args, control) {
    return fromOutcome(await control.start(oneArgument(args, 'the actor')));
  },
};
