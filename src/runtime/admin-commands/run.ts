import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const run: AdminCommand = {
  name: 'run',
  usage: 'STAGE',
  help: 'starts a run of a stage now',
  async run(args, control) {
    return fromOutcome(await control.runNow(oneArgument(args, 'the stage')));
  },
};
