import { BlockError } from '../../../core/plugin.ts';
import type { Batch, Signature } from './batch.ts';
import type { ObjectCipher } from './encryption/volume-key.ts';
import type { FrameCodec, StoredFrames } from './frames/frame-codec.ts';
import type { ObjectTable } from './log-object.ts';
import type { LogNames, LogPosition } from './names.ts';
import { hashHeader } from './object-header.ts';
import type { LogEnd } from './recovery.ts';

export interface SealerOptions {
  readonly names: LogNames;
  readonly table: ObjectTable;
  readonly signature: Signature;
  readonly codec: FrameCodec;
  readonly epoch: number;
  /** Where the log ended before. */
  readonly last: LogEnd;
  /** Objects have become complete, or one fewer is being encoded. */
  readonly onChange: () => void;
  /** There will be no more objects. */
  readonly onFailed: (reason: BlockError) => void;
}

/** A batch that has its place in the log. */
export interface SealedBatch {
  readonly batch: Batch;
  readonly place: LogPosition;
  readonly key: string;
  /** As it is stored, once it is encoded and the header before it is known, whose hash is in it. */
  object: { readonly header: Buffer; readonly hash: Buffer; readonly body: Buffer } | undefined;
}

interface Open {
  readonly sealed: SealedBatch;
  readonly cipher: ObjectCipher | undefined;
  /** Since they are encoded. */
  frames: StoredFrames | undefined;
}

/**
 * Makes objects of batches. What takes time, compressing and encrypting their data, happens to several at once; their headers are made in
 * the order of the log.
 */
export class Sealer {
  readonly #options: SealerOptions;
  #nextSeq = 1;
  #lastHash: Buffer;
  #encoding = 0;
  /** Without a header, in the order of the log. */
  readonly #open: Open[] = [];

  constructor(options: SealerOptions) {
    this.#options = options;
    this.#lastHash = options.last.hash;
  }

  /** Sequence of the batch that is sealed next. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** How many are being encoded. */
  get encoding(): number {
    return this.#encoding;
  }

  /** Nothing can be added to the batch any more. It is complete at once when there is nothing to compress. */
  seal(batch: Batch): SealedBatch {
    const { names, table, signature, epoch, codec } = this.#options;
    const place = { epoch, seq: this.#nextSeq++ };
    table.place(batch.object, place);
    const key = names.object(place);
    const cipher = codec.key?.cipher(key, signature.nonce, signature.volume);
    const sealed: SealedBatch = { batch, place, key, object: undefined };
    const frames = codec.encode(batch.data, cipher);
    const isNow = !(frames instanceof Promise);
    this.#open.push({ sealed, cipher, frames: isNow ? frames : undefined });
    if (isNow) this.#close();
    else void this.#encode(this.#open.at(-1)!, frames);
    return sealed;
  }

  async #encode(open: Open, frames: Promise<StoredFrames>): Promise<void> {
    this.#encoding++;
    try {
      open.frames = await frames;
    } catch (cause) {
      const { message } = cause as Error;
      this.#options.onFailed(new BlockError('EIO', `an object cannot be encoded: ${message}`, { cause }));
    } finally {
      this.#encoding--;
    }
    this.#close();
    this.#options.onChange();
  }

  #close(): void {
    const { signature, last } = this.#options;
    while (this.#open[0]?.frames !== undefined) {
      const { sealed, cipher, frames } = this.#open.shift()!;
      const { batch, place } = sealed;
      const parent = place.seq === 1 ? last.place : { epoch: 0, seq: 0 };
      const { header, body } = batch.seal(signature, place, this.#lastHash, parent, frames!, cipher);
      const hash = hashHeader(header);
      this.#lastHash = hash;
      sealed.object = { header, hash, body };
    }
  }
}
