import { HAZARDS, type Limits, runScenario } from './scenario.ts';

const MAX_NS = 60_000_000_000n;
/** More than any run has. */
const MAX_STEPS = 150;

/**
 * Leaves out of the run of `seed` whatever its problem does not need, and prints what remains, how to repeat it, and what
 * keeps it as a test. Each attempt that still has a problem, be it another one, is where the next begins. Returns the exit code: 0 when there is no problem at all.
 */
export async function minimise(seed: number, from: Limits, mutant: string | undefined): Promise<number> {
  const end = process.hrtime.bigint() + MAX_NS;
  const fails = async (limits: Limits): Promise<boolean> =>
    (await runScenario(seed, undefined, limits)).problems.length > 0;
  if (!(await fails(from))) {
    process.stdout.write(`seed ${seed} has no problem\n`);
    return 0;
  }
  let best = from;
  const attempt = async (change: Partial<Limits>): Promise<boolean> => {
    const limits = { ...best, ...change };
    if (process.hrtime.bigint() > end || !(await fails(limits))) return false;
    best = limits;
    return true;
  };
  for (const gateways of [1, 2]) if (gateways < best.gateways && (await attempt({ gateways }))) break;
  for (const hazard of HAZARDS)
    if (!best.without.includes(hazard)) await attempt({ without: [...best.without, hazard] });
  // Not monotonic, since the end of a run is calm: the shortest of these that fails.
  const longest = Math.min(best.steps, MAX_STEPS);
  for (let steps = 1; steps <= longest; steps++) if (await attempt({ steps })) break;
  const steps = Math.min(best.steps, MAX_STEPS);
  for (let size = Math.ceil(steps / 2); ; size = Math.ceil(size / 2)) {
    for (let start = 0; start < steps; start += size) {
      const more = Array.from({ length: Math.min(size, steps - start) }, (_, i) => start + i);
      const skip = [...new Set([...best.skip, ...more])].sort((a, b) => a - b);
      if (skip.length > best.skip.length) await attempt({ skip });
    }
    if (size === 1) break;
  }
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  await runScenario(seed, say, best);
  const options = optionsOf(seed, best);
  const named = mutant === undefined ? '' : ` --mutant '${mutant}'`;
  say(`npm run sim -- ${options} --trace${named}`);
  say(`To be added to test/sim/regressions.ts, with the correction:`);
  say(`  {\n    options:\n      '${options}',`);
  if (mutant !== undefined) say(`    mutant: '${mutant}',`);
  say('  },');
  return 1;
}

function optionsOf(seed: number, { without, gateways, steps, skip }: Limits): string {
  const options = [`--from ${seed} --seeds 1 --gateways ${gateways}`];
  if (Number.isFinite(steps)) options.push(`--steps ${steps}`);
  if (without.length > 0) options.push(`--without ${without.join(',')}`);
  if (skip.length > 0) options.push(`--skip ${skip.join(',')}`);
  return options.join(' ');
}
