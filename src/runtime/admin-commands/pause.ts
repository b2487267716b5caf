import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const pause: AdminCommand = {
  name: 'pause',
  usage: 'STAGE',
  help: 'no further runs of a stage until resume; a running one finishes',
  async run(args, control) {
    return fromOutcome(await control.pause(oneArgument(args, 'the stage')));
  },
};
