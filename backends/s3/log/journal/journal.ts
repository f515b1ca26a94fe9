// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, copyOut, formatSize, type IoVec, type Logger } from '../../../../core/plugin.ts';
import { BLOCK } from '../object-header.ts';
import type { JournalChange } from './format.ts';
import type { JournalFile } from './journal-file.ts';

/** One record holds no more: what comes meanwhile is in the next one. Bytes of data, and changes. */
const MAX_BYTES = 4 * 2 ** 20;
const MAX_CHANGES = 1024;
/** Waiting for room for so long is worth a warning. Milliseconds. */
const SLOW_MS = 1000;

export interface JournalOptions {
  readonly file: JournalFile;
  /** What is in the journal and not in the store: so much of it, and none older, at most. */
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  readonly logger: Logger;
  /** Throws when nothing may be answered any more. */
  readonly throwIfFailed: () => void;
  /** Has the store get what it does not have yet. */
  readonly hurry: () => void;
  /** The journal cannot be written: settles once everything that was answered is in the store, and nobody needs it. */
  readonly abandon: () => Promise<void>;
  /** In its place, from then on: everything that was written so far is in the store. */
  readonly store: () => Promise<void>;
}

interface Pending extends JournalChange {
  /** Sequence of the object that it will be in. */
  readonly seq: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface FlushWaiter {
  /** Changes that have to be on the disk. */
  readonly upTo: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A record that may be needed. */
interface Kept {
  readonly seq: number;
  /** Where it ends. */
  readonly end: number;
  readonly bytes: number;
  readonly at: number;
}

/**
 * Changes on a local disk until the store has them. A write is answered once it is in the file, so that it survives the
 * death of this process; a flush, once the file is on the disk. When the journal fails, the store takes its place: writes
 * are answered when they are there.
 */
export class Journal {
  readonly #options: JournalOptions;
  #pending: Pending[] = [];
  #isWriting = false;
  #isSyncing = false;
  #reclaiming: Promise<void> | undefined;
  /** Changes so far: accepted, in the file, on the disk. */
  #accepted = 0;
  #written = 0;
  #synced = 0;
  readonly #flushes: FlushWaiter[] = [];
  readonly #kept: Kept[] = [];
  #keptBytes = 0;
  readonly #wakers: (() => void)[] = [];
  #failure: Error | undefined;
  #abandoned: Promise<void> | undefined;
  #stopped: BlockError | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  status(): Record<string, string> {
    const oldest = this.#kept[0];
    const age = oldest === undefined ? 0 : (performance.now() - oldest.at) / 1000;
    return {
      journal:
        this.#failure === undefined
          ? `${this.#options.file.path}, ${formatSize(this.#keptBytes)} not stored, ${age.toFixed(1)} s old`
          : `failed: ${this.#failure.message}; writes wait for the store`,
    };
  }

  /** Settles when the blocks are in the file. `seq`: of the object of the log that they will be in. */
  write(seq: number, lba: number, blocks: number, iov: IoVec, from: number): Promise<void> {
    if (this.#failure !== undefined) return this.#instead();
    const data = Buffer.allocUnsafe(blocks * BLOCK);
    copyOut(iov, data, from);
    return this.#add(seq, { lba, blocks, data });
  }

  zero(seq: number, lba: number, blocks: number): Promise<void> {
    return this.#failure === undefined ? this.#add(seq, { lba, blocks }) : this.#instead();
  }

  /** Settles when everything that was written before is on the disk. */
  flush(): Promise<void> | undefined {
    if (this.#failure !== undefined) return this.#instead();
    if (this.#synced === this.#accepted) return undefined;
    return new Promise<void>((resolve, reject) => {
      this.#flushes.push({ upTo: this.#accepted, resolve, reject });
      if (this.#written === this.#accepted) void this.#sync();
    }).catch((error) => this.#orInstead(error));
  }

  /**
   * Settles when every write that was answered is on the disk, or the journal is of no use any more. What the store gets
   * has to be there first: otherwise a replay could mix what the store has with an older end of the journal.
   */
  async ahead(): Promise<void> {
    if (this.#failure !== undefined || this.#synced === this.#written) return;
    await new Promise<void>((resolve) => {
      // In front of those that wait for more.
      this.#flushes.unshift({ upTo: this.#written, resolve, reject: () => resolve() });
      void this.#sync();
    });
  }

  /** The store has everything up to object `seq`. */
  release(seq: number): void {
    let end: number | undefined;
    while (this.#kept.length > 0 && this.#kept[0]!.seq <= seq) {
      const record = this.#kept.shift()!;
      end = record.end;
      this.#keptBytes -= record.bytes;
    }
    if (end === undefined) return;
    this.#options.file.release(end);
    // Soon: what a replay begins with, it stores once more.
    this.#reclaim().catch((error: Error) => this.#fail(error));
    for (const wake of this.#wakers.splice(0)) wake();
  }

  /** Nothing waits any longer. */
  async stop(reason: BlockError): Promise<void> {
    this.#stopped ??= reason;
    for (const { reject } of this.#pending.splice(0)) reject(reason);
    for (const { reject } of this.#flushes.splice(0)) reject(reason);
    for (const wake of this.#wakers.splice(0)) wake();
    await this.#reclaiming?.catch(() => undefined);
    while (this.#isWriting || this.#isSyncing)
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
  }

  #add(seq: number, change: JournalChange): Promise<void> {
    this.#accepted++;
    return new Promise<void>((resolve, reject) => {
      this.#pending.push({ ...change, seq, resolve, reject });
      if (!this.#isWriting) {
        this.#isWriting = true;
        // Changes of one turn of the event loop share a record.
        queueMicrotask(() => void this.#writeAll());
      }
    }).catch((error) => this.#orInstead(error));
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#pending.length > 0 && this.#failure === undefined && this.#stopped === undefined) {
        const group = await this.#nextGroup();
        if (group === undefined) continue;
        try {
          await this.#append(group);
        } catch (error) {
          for (const { reject } of group) reject(error);
          throw error;
        }
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#isWriting = false;
      for (const wake of this.#wakers.splice(0)) wake();
    }
  }

  async #append(group: readonly Pending[]): Promise<void> {
    const { file, throwIfFailed } = this.#options;
    const end = await file.append(group);
    const bytes = group.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
    this.#kept.push({ seq: group.at(-1)!.seq, end, bytes, at: performance.now() });
    this.#keptBytes += bytes;
    this.#written += group.length;
    for (const { resolve, reject } of group) {
      try {
        throwIfFailed();
        resolve();
      } catch (error) {
        reject(error);
      }
    }
    void this.#sync();
  }

  /** What goes into one record, once it has room. Undefined: look again. */
  async #nextGroup(): Promise<Pending[] | undefined> {
    const { file } = this.#options;
    let bytes = 0;
    let count = 0;
    while (count < this.#pending.length && count < MAX_CHANGES) {
      const more = this.#pending[count]!.data?.length ?? 0;
      if (count > 0 && bytes + more > Math.min(MAX_BYTES, file.maxRecord)) break;
      bytes += more;
      count++;
    }
    if (this.#isTooFarBehind(bytes)) await this.#released();
    else if (file.hasRoom(count, bytes)) return this.#pending.splice(0, count);
    else if (file.isReclaimable) await this.#reclaim();
    else await this.#released();
    return undefined;
  }

  #reclaim(): Promise<void> {
    this.#reclaiming ??= this.#options.file.reclaim().finally(() => {
      this.#reclaiming = undefined;
    });
    return this.#reclaiming;
  }

  #isTooFarBehind(bytes: number): boolean {
    const { maxLagBytes, maxLagMs } = this.#options;
    const oldest = this.#kept[0];
    if (oldest === undefined) return false;
    return this.#keptBytes + bytes > maxLagBytes || performance.now() - oldest.at > maxLagMs;
  }

  /** The store has more than before, or there is no reason to wait any longer. */
  async #released(): Promise<void> {
    const { logger, hurry } = this.#options;
    hurry();
    const slow = setTimeout(
      () => logger.warn('writes wait until the store has what is in the journal', { bytes: this.#keptBytes }),
      SLOW_MS,
    );
    slow.unref?.();
    await new Promise<void>((resolve) => this.#wakers.push(resolve));
    clearTimeout(slow);
  }

  async #sync(): Promise<void> {
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    try {
      while (
        this.#flushes.length > 0 &&
        this.#flushes[0]!.upTo <= this.#written &&
        this.#failure === undefined
      ) {
        const upTo = this.#written;
        await this.#options.file.sync();
        this.#synced = upTo;
        this.#options.throwIfFailed();
        while (this.#flushes.length > 0 && this.#flushes[0]!.upTo <= upTo) this.#flushes.shift()!.resolve();
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#isSyncing = false;
      for (const wake of this.#wakers.splice(0)) wake();
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined || this.#stopped !== undefined) return;
    if (BlockError.is(error)) {
      // Not the journal: nothing may be answered any more.
      void this.stop(error);
      return;
    }
    this.#failure = error;
    const { logger, file, abandon } = this.#options;
    logger.error(
      'the journal cannot be written any more; writes and flushes wait for the store from now on',
      {
        journal: file.path,
        why: error.message,
      },
    );
    this.#abandoned = abandon();
    this.#abandoned.catch(() => undefined);
    for (const { reject } of this.#pending.splice(0)) reject(error);
    for (const { reject } of this.#flushes.splice(0)) reject(error);
  }

  #orInstead(error: unknown): Promise<void> {
    if (BlockError.is(error)) throw error;
    return this.#instead();
  }

  async #instead(): Promise<void> {
    await this.#abandoned;
    await this.#options.store();
  }
}
