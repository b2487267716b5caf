// Takes the pid file named in argv, says `taken` or `held`, and stays until it is killed.
import { takePidFile } from '../../../dist/runtime/pid-file.js';

try {
  takePidFile(process.argv[2]);
  process.stdout.write('taken');
} catch (thrown) {
  process.stdout.write(thrown.constructor.name === 'PidFileHeld' ? 'held' : String(thrown));
}
process.stdin.resume();
