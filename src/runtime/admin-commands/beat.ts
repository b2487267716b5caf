import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const beat: AdminCommand = {
  name: 'beat',
  usage: 'STAGE',
  help: 'a sign of life of the program that a stage of type run has started',
  async run(args, control) {
    return fromOutcome(await control.beat(oneArgument(args, 'the stage')));
  },
};
