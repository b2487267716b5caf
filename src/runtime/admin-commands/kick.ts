import { fromOutcome, oneArgument, type AdminCommand } from './command.js';

export const kick: AdminCommand = {
  name: 'kick',
  usage: 'ID|ADDRESS',
  help: 'closes one connection, or all of an IP address',
  run(args, control) {
    return fromOutcome(control.kick(oneArgument(args, 'the connection id or address')));
  },
};
