import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { GatewayError } from '../../../core/plugin.ts';
import { processIdentity } from '../holder.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { isStoreError } from '../store/store-error.ts';
import type { LogNames } from './names.ts';

/** What is condemned with a snapshot of a large disk is many names. */
const MAX_HEAD_BYTES = 256 * 2 ** 20;

const position = z.object({ epoch: z.int().min(0), seq: z.int().min(0) });

const checkpoint = z.object({
  /** Of the object. */
  key: z.string(),
  /** Bytes of it that come before its slices. */
  root: z.int().min(0).optional(),
  /** The last object of the log that is in it. */
  at: position,
  /** SHA-256 of that object's header, hexadecimal. */
  hash: z.string(),
});

export type CheckpointRef = z.output<typeof checkpoint>;

const snapshot = z.object({
  name: z.string(),
  createdAt: z.string(),
  /** Bytes. */
  size: z.int(),
  checkpoint,
  /** It is about to be deleted: nobody may begin to need it. */
  isGoing: z.boolean().optional(),
});

export type Snapshot = z.output<typeof snapshot>;

const point = z.object({
  /** When the volume was like that. */
  at: z.string(),
  /** Bytes. */
  size: z.int(),
  checkpoint,
});

/** A checkpoint of a moment that can be gone back to until so much time has passed. */
export type Point = z.output<typeof point>;

/** Numbers by epoch, `"1-4,7"`. */
const numbers = z.record(z.string(), z.string());

const held = z.object({
  /** The newest point that needs them, as the name of its checkpoint says. */
  until: position,
  objects: z.int(),
  /** Data of those of the log, as it is stored. */
  bytes: z.int(),
  log: numbers,
  checkpoints: numbers,
});

/** Objects that nothing but points needs. */
export type Held = z.output<typeof held>;

const writer = z.object({
  disk: z.string(),
  since: z.string(),
  process: processIdentity,
});

export type Writer = z.output<typeof writer>;

/** A journal with changes that were acknowledged and that the store may not have. */
const journal = z.object({
  /** Which of the sessions of that journal, hexadecimal. */
  session: z.string(),
  /** Where it is, for people. */
  host: z.string(),
  path: z.string(),
});

const head = z.object({
  format: z.literal('blockgate-log-head'),
  volume: z.string(),
  /** Counts the changes of this object. */
  version: z.int(),
  /** Of whoever wrote it last; with `version` it tells one change from another. */
  nonce: z.string(),
  /** Of the latest writer. */
  epoch: z.int(),
  /** `deleting`: it is to be removed, unless a clone needs it. `removing`: its objects are being removed. */
  state: z.enum(['owned', 'released', 'deleting', 'removing']),
  writer: writer.nullable(),
  /** Who opens the volume without it loses what is in there. */
  journal: journal.nullish(),
  /** Bytes. */
  size: z.int(),
  checkpoint: checkpoint.nullable(),
  /**
   * Epochs with objects that are not in the checkpoint, oldest first. `end`: the last sequence that counts, where it is
   * known; without it, whoever comes next finds out, and fences.
   */
  epochs: z.array(z.object({ epoch: z.int(), end: z.int().optional() })),
  snapshots: z.array(snapshot),
  /** For how long points are kept. Milliseconds. */
  retention: z.number().optional(),
  /** In the order in which they were made. */
  points: z.array(point).optional(),
  held: z.array(held).optional(),
  /** It was cloned, or began as an image, and needs neither any more. */
  isFlat: z.boolean().optional(),
  /** Keys that nothing refers to any more, as of this version: to be deleted. */
  condemned: z.array(z.string()),
});

/** The content of `head`. */
export type Head = z.output<typeof head>;

export interface StoredHead {
  readonly head: Head;
  readonly etag: string;
}

/** The head of a volume that nobody has opened yet. */
export function firstHead(volume: string, size: number): Head {
  return {
    format: 'blockgate-log-head',
    volume,
    version: 1,
    nonce: randomUUID(),
    epoch: 0,
    state: 'released',
    writer: null,
    size,
    checkpoint: null,
    epochs: [],
    snapshots: [],
    condemned: [],
  };
}

/** Undefined when there is none. Throws `volume.corrupt`. */
export async function readHead(store: ObjectStore, names: LogNames): Promise<StoredHead | undefined> {
  const object = await store.get(names.head, MAX_HEAD_BYTES);
  if (object === undefined) return undefined;
  try {
    const content = head.parse(JSON.parse(Buffer.from(object.body).toString('utf8')));
    return { head: content, etag: object.info.etag };
  } catch (cause) {
    throw new GatewayError('volume.corrupt', `The object ${names.head} is damaged.`, {
      why: (cause as Error).message,
      fix: 'Restore it from an older version of the object, if the bucket keeps them.',
      cause,
    });
  }
}

/**
 * `undefined` for `etag`: only if there is none. Returns the new ETag, or what is there instead. An answer that was lost
 * is no matter: what is there is compared.
 */
export async function writeHead(
  store: ObjectStore,
  names: LogNames,
  content: Head,
  etag: string | undefined,
): Promise<string | StoredHead | undefined> {
  try {
    return await store.put(names.head, encodeHead(content), {
      condition: etag === undefined ? 'absent' : { etag },
    });
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
  const there = await readHead(store, names);
  return there !== undefined && encodeHead(there.head).equals(encodeHead(content)) ? there.etag : there;
}

/** `head` as it is stored. */
export const encodeHead = (content: Head): Buffer =>
  Buffer.from(`${JSON.stringify(content, undefined, 1)}\n`);

/** Who has it open, or had until it died. */
export const holderOf = ({ state, writer }: Head): Writer | undefined =>
  state === 'owned' && writer !== null ? writer : undefined;

/** Whether it is on its way to be no volume any more. */
export const isBeingDeleted = ({ state }: Head): boolean => state === 'deleting' || state === 'removing';

/** Throws `volume.snapshot-exists` when there is a snapshot of that name. */
export function refuseTaken({ snapshots }: Head, name: string): void {
  if (!snapshots.some((other) => other.name === name)) return;
  throw new GatewayError('volume.snapshot-exists', `There is a snapshot "${name}" already.`, {
    fix: 'Choose another name.',
  });
}

/** The head as its writer changes it, one change at a time. */
export class HeadFile {
  readonly #store: ObjectStore;
  readonly #names: LogNames;
  #current: StoredHead;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(store: ObjectStore, names: LogNames, current: StoredHead) {
    this.#store = store;
    this.#names = names;
    this.#current = current;
  }

  get content(): Head {
    return this.#current.head;
  }

  get etag(): string {
    return this.#current.etag;
  }

  /**
   * Replaces it by what `change` makes of it. False: it is somebody else's by now, for good. Changes wait for each other.
   */
  change(change: (head: Head) => Partial<Head>): Promise<boolean> {
    const next = this.#changing.then(() => this.#change(change));
    this.#changing = next.catch(() => undefined);
    return next;
  }

  async #change(change: (head: Head) => Partial<Head>): Promise<boolean> {
    for (;;) {
      const { head: current, etag } = this.#current;
      const content = { ...current, ...change(current), version: current.version + 1 };
      const written = await writeHead(this.#store, this.#names, content, etag);
      if (typeof written === 'string') {
        this.#current = { head: content, etag: written };
        return true;
      }
      // A change of ours that was given up, and came to pass later.
      if (written?.head.nonce !== current.nonce) return false;
      this.#current = written;
    }
  }
}
