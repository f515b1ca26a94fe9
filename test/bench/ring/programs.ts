import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { runCommand } from '../../../core/vm/run-command.ts';
import type { RingJob } from './jobs.ts';
import type { RingMeasurement } from './report.ts';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The first word of sector N is N ^ SALT: what driver.c expects with `verify`. */
const SALT = 0x626c6f636b676174n;
const SECTOR = 512;
/** Requests, after which everything is compiled that will be. */
const MAX_WARMUP = 400_000;
const CHUNK = 2 ** 20;

export interface Programs {
  readonly driver: string;
  /** The device in C. */
  readonly device: string;
  /** The disk of both devices. */
  readonly file: string;
  /** Bytes. */
  readonly size: number;
}

/** Compiles driver and device, and makes a file for them, in `folder`. Throws when there is no compiler. */
export async function preparePrograms(folder: string, size: number): Promise<Programs> {
  const programs = {
    driver: `${folder}/driver`,
    device: `${folder}/device`,
    file: `${folder}/disk.img`,
    size,
  };
  await run('gcc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', programs.driver, here('./driver.c')]);
  await run('gcc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', programs.device, here('./device.c')]);
  await writeFile(programs.file, size);
  return programs;
}

/** Which of the two devices serves the ring. */
export type DeviceUnderTest = 'ours' | 'reference';

export interface Lengths {
  readonly seconds: number;
  /** MiB transferred before. */
  readonly warmup: number;
}

const measurement = z.object({
  iops: z.number(),
  p50: z.number(),
  p99: z.number(),
  cpuPerRequest: z.number(),
});

/** One run of the driver with one device. `verify`: checks what is read, and reads back what it has written. */
export async function runDriver(
  { driver, device, file, size }: Programs,
  job: RingJob,
  which: DeviceUnderTest,
  { seconds, warmup }: Lengths,
  verify = false,
): Promise<RingMeasurement> {
  const { rw, queues, depth, blockSize, segment, placement, spinUs } = job;
  const ours = [process.execPath, here('./device.ts'), file, String(queues), String(spinUs)];
  const output = await run(driver, [
    ...[
      `--rw=${rw}`,
      `--queues=${queues}`,
      `--depth=${depth}`,
      `--block=${blockSize}`,
      `--segment=${segment}`,
    ],
    ...[
      `--placement=${placement}`,
      `--size=${size}`,
      `--seconds=${seconds}`,
      `--warmup=${warmupRequests(job, warmup)}`,
    ],
    ...(verify ? ['--verify'] : []),
    '--',
    ...(which === 'ours' ? ours : [device, file]),
  ]);
  return measurement.parse(JSON.parse(output));
}

/** QD1 between processors may be slow, because of what it takes to wake one. */
function warmupRequests({ blockSize, depth }: RingJob, mib: number): number {
  const most = depth === 1 ? MAX_WARMUP / 10 : MAX_WARMUP;
  return Math.min(most, Math.ceil((mib * 2 ** 20) / blockSize));
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runCommand(command, args);
  if (exitCode !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with status ${exitCode}:\n${stderr}`);
  return stdout;
}

/** Full, so that nothing has to be allocated later, and in the page cache. */
async function writeFile(path: string, size: number): Promise<void> {
  const stream = createWriteStream(path);
  for (let at = 0; at < size; at += CHUNK) {
    const chunk = new DataView(new ArrayBuffer(CHUNK));
    for (let i = 0; i < CHUNK; i += SECTOR) chunk.setBigUint64(i, BigInt((at + i) / SECTOR) ^ SALT, true);
    if (!stream.write(new Uint8Array(chunk.buffer))) await once(stream, 'drain');
  }
  stream.end();
  await once(stream, 'close');
}
