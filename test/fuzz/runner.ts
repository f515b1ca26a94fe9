import { openSync, writeSync } from 'node:fs';
import { TARGETS } from './targets.ts';

/**
 * What main.ts starts: runs one target, in a process of its own, because what is looked for may end the process or
 * never end. Notes the seed at work in a file, where it can be found then. Arguments: target, first seed, runs,
 * seconds, file.
 */

const [name, firstText, runsText, secondsText, path] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const first = Number(firstText);
const runs = Number(runsText);
const seconds = Number(secondsText);
const BATCH = 1000;
const REPORT_SECONDS = 10;

const note = new Float64Array(2);
const noteBytes = new Uint8Array(note.buffer);
const fd = openSync(path, 'w');

// Most runs make errors, whose stacks cost more than all the rest. A single run is there to be looked at.
if (runs !== 1) Error.stackTraceLimit = 0;

using target = TARGETS[name]!();
const start = process.hrtime.bigint();
const elapsed = (): number => Number(process.hrtime.bigint() - start) / 1e9;

function report(done: number): void {
  const reached = Object.entries(target.reached()).map(([what, times]) => `${times} ${what}`);
  const { user, system } = process.cpuUsage();
  const rate = Math.round(done / ((user + system) / 1e6));
  process.stdout.write(
    `${name}: ${done} runs from seed ${first} in ${elapsed().toFixed(0)} s, ${rate} for each second of processor; ${reached.join(', ')}\n`,
  );
}

function fail(error: unknown): never {
  process.stderr.write(`${name}: ${(error as Error)?.stack ?? String(error)}\n`);
  process.exit(1);
}

process.on('unhandledRejection', fail);
let done = 0;
let reported = 0;
try {
  while (done < runs && elapsed() < seconds) {
    for (const end = Math.min(runs, done + BATCH); done < end; done++) {
      note[0] = first + done;
      note[1] = done;
      writeSync(fd, noteBytes, 0, 16, 0);
      const pending = target.run(first + done);
      if (pending !== undefined) await pending;
    }
    // A rejection that nobody handles shows between turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    if (elapsed() - reported < REPORT_SECONDS) continue;
    reported = elapsed();
    report(done);
  }
} catch (error) {
  fail(error);
}
report(done);
