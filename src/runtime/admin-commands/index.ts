/** Every admin command, in the order of `help`. A new command is one file here and one line below. */
import type { AdminCommand } from './command.js';
import { beat } from './beat.js';
import { conns } from './conns.js';
import { dead } from './dead.js';
import { drain } from './drain.js';
import { dump } from './dump.js';
import { helpCommand } from './help.js';
import { kick } from './kick.js';
import { log } from './log.js';
import { metrics } from './metrics.js';
import { pause } from './pause.js';
import { ps } from './ps.js';
import { queues } from './queues.js';
import { quit } from './quit.js';
import { reload } from './reload.js';
import { restart } from './restart.js';
import { resume } from './resume.js';
import { run } from './run.js';
import { runs } from './runs.js';
import { shutdown } from './shutdown.js';
import { stages } from './stages.js';
import { start } from './start.js';
import { stop } from './stop.js';

export const ADMIN_COMMANDS: readonly AdminCommand[] = [
  helpCommand(() => ADMIN_COMMANDS),
  ps,
  queues,
  conns,
  stages,
  runs,
  dead,
  log,
  reload,
  restart,
  stop,
  start,
  pause,
  resume,
  run,
  beat,
  kick,
  drain,
  shutdown,
  dump,
  metrics,
  quit,
];
