import { noMore, show, type AdminCommand } from './command.js';

export const metrics: AdminCommand = {
  name: 'metrics',
  usage: '',
  help: 'all metrics as Prometheus text',
  run(args, control) {
    noMore(args, 0);
    const text = control.metricsText();
    return show(text, text.trimEnd());
  },
};
