import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const stop: AdminCommand = {
  name: 'stop',
  usage: 'ACTOR',
  help: 'stops an actor in order; it stays stopped until start',
  async run(args, control) {
    return fromOutcome(await control.stop(oneArgument(args, 'the actor')));
  },
};
