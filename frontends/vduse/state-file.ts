import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { SECTOR_SIZE, VIRTIO_BLK_F_RO } from '../virtio/abi/virtio-blk.ts';
import { featureNames, hasFeature } from '../virtio/blk/features.ts';
import type { Attachment } from './outlet.ts';

const FILE = 'vduse.json';
const CAPACITY_BYTES = 8;

const schema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  /** Files of earlier versions do not say it. */
  attach: z.enum(['host', 'vm']).default('host'),
  features: z.string(),
  queues: z.int(),
  queueSize: z.int(),
  configSpace: z.string(),
  serial: z.string(),
  content: z.string().optional(),
});

/**
 * How a device was made. The kernel does not tell, and serving it with other features or another size than its
 * driver was told would be wrong: so whoever adopts a device compares.
 */
export interface DeviceState {
  readonly name: string;
  readonly attach: Attachment;
  readonly features: bigint;
  readonly queues: number;
  readonly queueSize: number;
  readonly configSpace: Uint8Array;
  readonly serial: string;
  /** Of what is in the store, where somebody may put something else there. */
  readonly content?: string | undefined;
}

/** Written before a device is attached, removed after it is destroyed: tells an adopter that the device is ours. */
export class StateFile {
  readonly #path: string;

  /** `folder`: the disk's own, `stateDir`. */
  constructor(folder: string) {
    this.#path = join(folder, FILE);
  }

  /** Undefined: there is none, or none that can be read. */
  read(): DeviceState | undefined {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const parsed = schema.safeParse(parseJson(text));
    if (!parsed.success) return undefined;
    const { version: _, features, configSpace, ...rest } = parsed.data;
    return {
      ...rest,
      features: BigInt(features),
      configSpace: Uint8Array.from(Buffer.from(configSpace, 'hex')),
    };
  }

  write(state: DeviceState): void {
    const text = JSON.stringify({
      version: 1,
      ...state,
      features: `0x${state.features.toString(16)}`,
      configSpace: Buffer.from(state.configSpace).toString('hex'),
    } satisfies z.input<typeof schema>);
    const fresh = `${this.#path}.new`;
    writeFileSync(fresh, text, { mode: 0o600 });
    renameSync(fresh, this.#path);
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}

/**
 * The first thing in which a device differs from what is wanted now; undefined when it can be served. A disk that has
 * grown can: its driver is told.
 */
export function stateDifference(made: DeviceState, wanted: DeviceState): string | undefined {
  if (made.attach !== wanted.attach) return `attach: "${made.attach}", now "${wanted.attach}"`;
  if (made.queues !== wanted.queues) return `queues: ${made.queues}, now ${wanted.queues}`;
  if (made.queueSize !== wanted.queueSize) return `queueSize: ${made.queueSize}, now ${wanted.queueSize}`;
  if (made.serial !== wanted.serial) return `serial: "${made.serial}", now "${wanted.serial}"`;
  if (made.content !== wanted.content)
    return `what is in the store: ${made.content ?? 'unknown'}, now ${wanted.content ?? 'unknown'}`;
  const readOnly = [made, wanted].map(({ features }) => hasFeature(features, VIRTIO_BLK_F_RO));
  if (readOnly[0] !== readOnly[1]) return `readOnly: ${readOnly[0]}, now ${readOnly[1]}`;
  const features = featureNames(made.features ^ wanted.features);
  if (features.length > 0) return `features: ${features.join(', ')}`;
  const [before, now] = [capacity(made), capacity(wanted)];
  if (now < before) return `size: ${before} bytes, now ${now}`;
  const rest = [made, wanted].map(({ configSpace }) => configSpace.subarray(CAPACITY_BYTES));
  if (Buffer.compare(rest[0]!, rest[1]!) !== 0) return 'block size or limits of the store';
  return undefined;
}

/** The first field of the configuration space; in sectors there. */
function capacity({ configSpace }: DeviceState): number {
  return Number(Buffer.from(configSpace).readBigUInt64LE(0)) * SECTOR_SIZE;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
