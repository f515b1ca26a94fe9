/**
 * Runs in the guest: attaches a disk in this very process, runs bash scripts against it, and detaches it.
 *
 *   node vduse-disk.ts '{ … }'
 *
 * The argument is a `VduseDiskPlan`.
 *
 * Prints one line of JSON, a `VduseDiskReport` or what is known of the error, and logs to stderr.
 */
import { spawn } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import type { BlockDevice, IoVec } from '../../../core/api/device.ts';
import type { GatewayError } from '../../../core/api/errors.ts';
import type { Logger } from '../../../core/api/logger.ts';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { vduseConfig } from '../../../frontends/vduse/config.ts';
import { attachDisk } from '../../../frontends/vduse/frontend.ts';

export interface VduseDiskPlan {
  /** Bytes. */
  readonly size: number;
  /** File behind the disk. */
  readonly image: string;
  readonly stateDir: string;
  readonly config?: object;
  /** Run one after the other while the disk is attached, with its path in $DISK. */
  readonly scripts?: readonly string[];
  readonly cycles?: number;
  /** Ends by SIGKILL after the scripts. */
  readonly die?: boolean;
  /** Waits after the scripts until the disk reports that it is closed. */
  readonly untilClosed?: boolean;
}

export interface VduseDiskReport {
  /** What each script printed. */
  readonly outputs: readonly string[];
  /** Exit status of each script. */
  readonly statuses: readonly number[];
  /** Who used the disk after the last script. */
  readonly holders: readonly string[];
  /** Code of the error with which the disk closed, if waited for. */
  readonly closed?: string | undefined;
  /** What this process and the machine hold after the first cycle and after the last, by kind. */
  readonly first: Readonly<Record<string, number>>;
  readonly last: Readonly<Record<string, number>>;
}

const plan = JSON.parse(process.argv[2]!) as VduseDiskPlan;

function log(level: string) {
  return (message: string, fields?: object) => {
    const text = JSON.stringify(fields, (_key, value: unknown) =>
      value instanceof Error ? value.stack : value,
    );
    process.stderr.write(`${level} ${message} ${text ?? ''}\n`);
  };
}
const logger: Logger = {
  error: log('error'),
  warn: log('warn'),
  info: log('info'),
  debug: log('debug'),
  child: () => logger,
};

/** A file, read and written synchronously: the plainest store there is. */
function fileDevice(): BlockDevice {
  const fd = openSync(plan.image, 'a+');
  closeSync(fd);
  const file = openSync(plan.image, 'r+');
  ftruncateSync(file, plan.size);
  const each = (transfer: (segment: Uint8Array, at: number) => number, offset: number, iov: IoVec): void => {
    let at = offset;
    for (const segment of iov) at += transfer(segment, at);
  };
  const readInto = (segment: Uint8Array, at: number) => readSync(file, segment, 0, segment.length, at);
  const writeFrom = (segment: Uint8Array, at: number) => writeSync(file, segment, 0, segment.length, at);
  return {
    info: { size: plan.size, caps: { concurrency: 'parallel' } },
    read: (offset, iov) => each(readInto, offset, iov),
    write: (offset, iov) => each(writeFrom, offset, iov),
    flush: () => {},
    discard: () => {},
    [Symbol.asyncDispose]: async () => closeSync(file),
  };
}

const count = (folder: string, pattern: RegExp): number =>
  readdirSync(folder).filter((name) => pattern.test(name)).length;

function inventory(): Record<string, number> {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    fds: count('/proc/self/fd', /./),
    mappings: maps.filter((line) => line.includes('vduse')).length,
    disks: count('/dev', /^vd[a-z]\d*$/),
    nodes: count('/dev/vduse', /^blockgate/),
    bus: count('/sys/bus/vdpa/devices', /./),
    links: count('/dev', /^blockgate$/),
    children: readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean)
      .length,
  };
}

/** Runs while the event loop serves the disk. */
function bash(script: string, disk: string): Promise<{ output: string; status: number }> {
  const child = spawn('bash', ['-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, DISK: disk },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return new Promise((done) => {
    child.once('exit', (code) => done({ output, status: code ?? -1 }));
  });
}

async function runOnce(): Promise<Omit<VduseDiskReport, 'first' | 'last'>> {
  await using store = fileDevice();
  const volume = new DiskVolume('disk0', adaptDevice(resolve(store, 'file')).device, logger);
  await using handle = await attachDisk(volume, vduseConfig.parse(plan.config ?? {}), {
    disk: 'disk0',
    logger,
    signal: new AbortController().signal,
    stateDir: plan.stateDir,
    baseDir: plan.stateDir,
  });
  const results: { output: string; status: number }[] = [];
  for (const script of plan.scripts ?? []) results.push(await bash(script, handle.path));
  const holders = (await handle.holders()).map(({ kind, description }) => `${kind}: ${description}`);
  if (plan.die) process.kill(process.pid, 'SIGKILL');
  const closed = plan.untilClosed ? ((await handle.closed) as GatewayError | undefined)?.code : undefined;
  await handle.quiesce();
  return {
    outputs: results.map(({ output }) => output),
    statuses: results.map(({ status }) => status),
    holders,
    closed,
  };
}

try {
  let report = await runOnce();
  const first = inventory();
  for (let cycle = 1; cycle < (plan.cycles ?? 1); cycle++) report = await runOnce();
  process.stdout.write(
    `${JSON.stringify({ ...report, first, last: inventory() } satisfies VduseDiskReport)}\n`,
  );
} catch (error) {
  const { code, message, why } = error as GatewayError;
  process.stdout.write(`${JSON.stringify({ code, message, why })}\n`);
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exitCode = 1;
}
