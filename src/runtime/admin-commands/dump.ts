import { noMore, show, type AdminCommand } from './command.js';

export const dump: AdminCommand = {
  name: 'dump',
  usage: '',
  help: 'everything an error report needs as one JSON document, without secrets',
  async run(args, control) {
    noMore(args, 0);
    const data = await control.dump();
    return show(data, JSON.stringify(data, undefined, 2));
  },
};
