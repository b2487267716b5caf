import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const resume: AdminCommand = {
  name: 'resume',
  usage: 'STAGE',
  help: 'runs of a paused stage go on',
  async run(args, control) {
    return fromOutcome(await control.resume(oneArgument(args, 'the stage')));
  },
};
