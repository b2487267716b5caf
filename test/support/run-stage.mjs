// Runs a built stage again and again until it is killed or asked to end after one run:
//   node run-stage.mjs <stage file in dist/actors/pipeline> <params as JSON> [once]
import { runOnce } from '../../dist/actors/pipeline/stage/run.js';

const [, , module, params, mode] = process.argv;
const { createStage } = await import(`../../dist/actors/pipeline/${module}.js`);
const quiet = { debug() {}, info() {}, notice() {}, warn() {}, error() {}, fatal() {}, child: () => quiet };
const env = { name: module, params: JSON.parse(params), log: quiet, signal: new AbortController().signal };
process.stdout.write('started\n');
do {
  const result = await runOnce(createStage, env, { dryRun: false, ledgerUrl: env.params.ledger });
  if (result.state === 'failed') {
    console.error(String(result.error));
    if (mode === 'once') process.exit(1);
  }
} while (mode !== 'once');
