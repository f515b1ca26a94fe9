import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

/** What main.ts starts beside itself: ends the process when its runs do not go on. */

const { pulse, seconds, message } = workerData as {
  /** The seed at work, and how many runs are done. */
  readonly pulse: Float64Array;
  readonly seconds: number;
  /** How to run the seed again, with `NaN` in its place. */
  readonly message: string;
};

let last = -1;
setInterval(() => {
  if (pulse[1] !== last) {
    last = pulse[1]!;
    return;
  }
  writeSync(2, `a run takes more than ${seconds} s\n\n${message.replace('NaN', String(pulse[0]))}\n`);
  process.kill(process.pid, 'SIGKILL');
}, seconds * 1000);
