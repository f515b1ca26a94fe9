/**
 * Runs in the guest, forked by `vhost-vdpa.ts`: serves disks in memory and does what it is told over the channel.
 *
 * The store answers late, and touches the memory of a request only then: whoever touches memory that the driver has
 * taken back is found out.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../core/api/device.ts';
import type { GatewayError } from '../../../core/api/errors.ts';
import type { FrontendHandle } from '../../../core/api/frontend.ts';
import type { Logger } from '../../../core/api/logger.ts';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { copyIn, copyOut, iovLength } from '../../../core/util/iov.ts';
import { vduseConfig } from '../../../frontends/vduse/config.ts';
import { attachDisk } from '../../../frontends/vduse/frontend.ts';

export const DISK_BYTES = 16 * 2 ** 20;
/** The store takes up to this long. */
export const STORE_DELAY_MS = 4;

export interface DiskOrder {
  readonly id: number;
  readonly order: 'attach' | 'detach' | 'holders' | 'inventory';
  readonly disk: string;
  readonly attach?: 'host' | 'vm';
  /** Seconds the kernel waits for an answer. */
  readonly msgTimeout?: number;
}

export interface DiskReply {
  readonly id: number;
  /** Code of the error, if it failed. */
  readonly code?: string;
  readonly text?: string;
  readonly path?: string;
  readonly usage?: readonly string[];
  readonly holders?: readonly string[];
  /** What this process holds of the kernel. */
  readonly inventory?: { readonly fds: number; readonly mappings: number };
}

const STATE = '/run/vhost-disk';
const stores = new Map<string, Uint8Array>();
const handles = new Map<string, FrontendHandle>();

function log(level: string) {
  return (message: string, fields?: object) => {
    if (level !== 'debug') process.stderr.write(`${level} ${message} ${JSON.stringify(fields) ?? ''}\n`);
  };
}
const logger: Logger = {
  error: log('error'),
  warn: log('warn'),
  info: log('info'),
  debug: log('debug'),
  child: () => logger,
};

/** Bytes that outlive an attachment, and a delay that varies, so that requests overtake each other. */
function slowStore(data: Uint8Array): BlockDevice {
  let turn = 0;
  const wait = () => delay(++turn % (STORE_DELAY_MS + 1));
  return {
    info: { size: data.length, caps: { concurrency: 'parallel' } },
    read: async (offset, iov) => {
      await wait();
      copyIn(iov, data.subarray(offset, offset + iovLength(iov)));
    },
    write: async (offset, iov) => {
      await wait();
      copyOut(iov, data.subarray(offset, offset + iovLength(iov)));
    },
    flush: async () => void (await wait()),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function attach({
  disk,
  attach: mode = 'vm',
  msgTimeout = 60,
}: DiskOrder): Promise<Omit<DiskReply, 'id'>> {
  const data = stores.get(disk) ?? new Uint8Array(DISK_BYTES);
  stores.set(disk, data);
  const volume = new DiskVolume(disk, adaptDevice(resolve(slowStore(data), 'slow')).device, logger);
  const stateDir = `${STATE}/${disk}`;
  mkdirSync(stateDir, { recursive: true });
  const handle = await attachDisk(volume, vduseConfig.parse({ attach: mode, msgTimeout }), {
    disk,
    logger,
    signal: new AbortController().signal,
    stateDir,
    baseDir: stateDir,
  });
  handles.set(disk, handle);
  return { path: handle.path, usage: handle.usage ?? [] };
}

async function detach(disk: string): Promise<Omit<DiskReply, 'id'>> {
  const handle = handles.get(disk)!;
  handles.delete(disk);
  await handle.quiesce();
  await handle[Symbol.asyncDispose]();
  return {};
}

/** Shared mappings, and files but those by which processes talk to each other: helpers come and go. */
function inventory(): { fds: number; mappings: number } {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return 'pipe: the folder that is being read';
    }
  });
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    fds: targets.filter((target) => !/^(pipe|socket):/.test(target)).length,
    mappings: maps.filter((line) => /^\S+ ..[-x]s /.test(line)).length,
  };
}

async function obey(what: DiskOrder): Promise<Omit<DiskReply, 'id'>> {
  const { order, disk } = what;
  switch (order) {
    case 'attach':
      return await attach(what);
    case 'detach':
      return await detach(disk);
    case 'holders':
      return {
        holders: (await handles.get(disk)!.holders()).map(
          ({ kind, description }) => `${kind}: ${description}`,
        ),
      };
    case 'inventory':
      return { inventory: inventory() };
  }
}

process.on('message', (order: DiskOrder) => {
  obey(order).then(
    (reply) => process.send!({ id: order.id, ...reply } satisfies DiskReply),
    (error: GatewayError) => {
      process.stderr.write(`${error.stack}\n${error.why ?? ''}\n`);
      process.send!({ id: order.id, code: error.code ?? 'unknown', text: error.message } satisfies DiskReply);
    },
  );
});
