import { parseArgs } from 'node:util';
import { introduce, MUTANTS } from './mutants.ts';
import type { Limits } from './scenario.ts';

const USAGE = `Usage: npm run sim -- [options]

Runs the log volume of the s3 backend in a simulated world: gateways that die, stall and take the volume from each
other, over a store that fails. Prints the seeds that found something, and for the first of them what \`--minimise\` does.

  --seeds N    how many seeds (1000)
  --from N     the first of them (1)
  --no-minimise
               only print the seeds
  --minimise S leave out of seed S what is not needed for its problem, for a minute at most; prints what remains, the
               options that repeat it, and the entry that keeps it as a test. The options:
  --without H  no such hazards, separated by commas
  --gateways N how many may live at once (3)
  --steps N    no more steps than that
  --skip N     nobody begins anything at these steps, separated by commas
  --trace      say what happens, for few seeds, and minimise none
  --mutant M   with a mistake in the engine, until it is found:
${MUTANTS.map(({ name }) => `                 ${name}\n`).join('')}`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      trace: { type: 'boolean', default: false },
      mutant: { type: 'string' },
      minimise: { type: 'string' },
      'no-minimise': { type: 'boolean', default: false },
      without: { type: 'string', default: '' },
      gateways: { type: 'string', default: '3' },
      steps: { type: 'string' },
      skip: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const mutant = MUTANTS.find(({ name }) => name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined)
    throw new Error(`there is no mutant "${values.mutant}"`);
  if (mutant !== undefined) introduce(mutant);
  // Not before the mistake is made.
  const { HAZARDS, runScenario, UNLIMITED } = await import('./scenario.ts');
  const listed = (list: string): string[] => list.split(',').filter((item) => item !== '');
  const limits: Limits = {
    without: listed(values.without).map((name) => {
      const hazard = HAZARDS.find((other) => other === name);
      if (hazard === undefined) throw new Error(`there is no hazard "${name}", only ${HAZARDS.join(', ')}`);
      return hazard;
    }),
    gateways: Number(values.gateways),
    steps: values.steps === undefined ? UNLIMITED.steps : Number(values.steps),
    skip: listed(values.skip).map(Number),
  };
  const { minimise } = await import('./minimise.ts');
  if (values.minimise !== undefined) return await minimise(Number(values.minimise), limits, values.mutant);
  const [seeds, from] = [Number(values.seeds), Number(values.from)];
  const start = process.hrtime.bigint();
  const seconds = (): number => Number((process.hrtime.bigint() - start) / 1_000_000n) / 1000;
  let [ran, events, changes, gateways, failed] = [0, 0, 0, 0, 0];
  for (let seed = from; seed < from + seeds; seed++) {
    const trace = values.trace ? (line: string) => process.stdout.write(`${line}\n`) : undefined;
    const outcome = await runScenario(seed, trace, limits);
    ran++;
    events += outcome.events;
    changes += outcome.changes;
    gateways += outcome.gateways;
    if (outcome.problems.length > 0) {
      failed++;
      process.stdout.write(`seed ${seed}: ${outcome.problems[0]}\n`);
      // Of one: it takes long, and others may well have the same cause.
      if (failed === 1 && !values['no-minimise'] && !values.trace)
        await minimise(seed, limits, values.mutant);
      if (failed >= (mutant === undefined ? 20 : 1)) break;
    }
    if (ran % 5000 === 0) process.stderr.write(`${ran} seeds in ${seconds().toFixed(0)} s\n`);
  }
  process.stdout.write(
    `${ran} seeds, ${failed} with problems; ${gateways} gateways, ${changes} changes, ${events} events; ${seconds().toFixed(1)} s\n`,
  );
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();
