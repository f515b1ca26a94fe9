import {
  decodeJournalHeader,
  decodeRecord,
  encodeFiller,
  encodeJournalHeader,
  encodeRecord,
  isFiller,
  type JournalChange,
  type JournalHeader,
  lengthOfRecord,
  RING,
  recordBytes,
  SECTOR,
} from './format.ts';
import type { JournalStorage } from './storage.ts';

/**
 * A ring of records. Positions count on for ever; `tail` is where the first record begins that may be needed, and `head`
 * where the next one goes. Room is used again only once the header on the disk says that it is free.
 */
export class JournalFile {
  readonly #storage: JournalStorage;
  #header: JournalHeader;
  #tail: number;
  #head: number;

  private constructor(storage: JournalStorage, header: JournalHeader) {
    this.#storage = storage;
    this.#header = header;
    this.#tail = header.tail;
    this.#head = header.tail;
  }

  /**
   * The journal that is there, up to the first record that is not whole; a new one where there is nothing. A string says
   * why there is none: something else is there, which is not to be destroyed.
   */
  static async read(storage: JournalStorage, volume: Buffer): Promise<JournalFile | string> {
    const slots = await Promise.all([0, SECTOR].map((at) => storage.read(at, SECTOR)));
    const found = slots.map(decodeJournalHeader);
    const headers = found.filter((slot) => typeof slot === 'object');
    if (headers.length === 0) {
      const isNew = found.every((slot) => slot === 'empty') || found.every((slot) => slot === undefined);
      if (!isNew) return 'it is not empty, and not a journal';
      const none = Buffer.alloc(16);
      const capacity = Math.floor((storage.size - RING) / SECTOR) * SECTOR;
      return new JournalFile(storage, {
        ...{ generation: 0, volume, nonce: none, session: none, before: none },
        ...{ capacity, tail: 0 },
      });
    }
    const header = headers.reduce((a, b) => (a.generation > b.generation ? a : b));
    if (!header.volume.equals(volume)) return 'it is the journal of another volume';
    if (RING + header.capacity > storage.size) return 'it was larger than it is now';
    const file = new JournalFile(storage, header);
    await file.#each(() => undefined);
    return file;
  }

  get path(): string {
    return this.#storage.path;
  }

  get header(): JournalHeader {
    return this.#header;
  }

  /** Bytes of records. */
  get bytes(): number {
    return this.#head - this.#tail;
  }

  get isEmpty(): boolean {
    return this.#head === this.#tail;
  }

  /** Every change that is in it, oldest first. */
  async replay(take: (change: JournalChange) => Promise<void>): Promise<void> {
    await this.#each(async (changes) => {
      for (const change of changes) await take(change);
    });
  }

  /** Forgets everything that is in it. On the disk when it settles. */
  async reset(nonce: Buffer, session: Buffer): Promise<void> {
    this.#tail = 0;
    this.#head = 0;
    const capacity = Math.floor((this.#storage.size - RING) / SECTOR) * SECTOR;
    await this.#writeHeader({
      ...this.#header,
      nonce,
      session,
      before: this.#header.session,
      capacity,
      tail: 0,
    });
  }

  /** Bytes of data in one record, at most: with less than all of the ring, one finds room while others are kept. */
  get maxRecord(): number {
    return this.#header.capacity / 4;
  }

  /** Whether a record of so many changes with so much data has a place. */
  hasRoom(changes: number, dataBytes: number): boolean {
    const { capacity, tail } = this.#header;
    return this.#endOf(recordBytes(changes, dataBytes)) - tail <= capacity;
  }

  /** Whether `reclaim` makes room. */
  get isReclaimable(): boolean {
    return this.#tail > this.#header.tail;
  }

  /** Gives the room of what was released to new records. */
  reclaim(): Promise<void> {
    return this.#writeHeader({ ...this.#header, tail: this.#tail });
  }

  /** Writes one record where `hasRoom`. Returns where it ends. */
  async append(changes: readonly JournalChange[]): Promise<number> {
    const { session, capacity } = this.#header;
    const bytes = changes.reduce(
      (sum, { data }) => sum + (data?.length ?? 0),
      recordBytes(changes.length, 0),
    );
    const start = this.#endOf(bytes) - bytes;
    if (start > this.#head)
      await this.#storage.write(RING + (this.#head % capacity), [
        encodeFiller(session, this.#head, start - this.#head),
      ]);
    await this.#storage.write(RING + (start % capacity), encodeRecord(session, start, changes));
    this.#head = start + bytes;
    return this.#head;
  }

  /** Everything that was written is on the disk when it settles. */
  sync(): Promise<void> {
    return this.#storage.sync();
  }

  /** Records up to the one that ends at `end` are not needed any more. */
  release(end: number): void {
    this.#tail = end;
  }

  close(): Promise<void> {
    return this.#storage.close();
  }

  /** Where a record of so many bytes ends: it does not go around the end of the ring. */
  #endOf(bytes: number): number {
    const { capacity } = this.#header;
    const left = capacity - (this.#head % capacity);
    return this.#head + (left < bytes ? left : 0) + bytes;
  }

  async #writeHeader(header: Omit<JournalHeader, 'generation'>): Promise<void> {
    const next = { ...header, generation: this.#header.generation + 1 };
    // The other one stays as it is until this one is whole.
    await this.#storage.write((next.generation % 2) * SECTOR, [encodeJournalHeader(next)]);
    await this.#storage.sync();
    this.#header = next;
  }

  async #each(take: (changes: readonly JournalChange[]) => unknown): Promise<void> {
    const { session, capacity, tail } = this.#header;
    for (this.#head = tail; this.#head - tail < capacity; ) {
      const at = this.#head % capacity;
      const start = await this.#storage.read(RING + at, SECTOR);
      const bytes = lengthOfRecord(start, session, this.#head);
      if (bytes === undefined || at + bytes > capacity) return;
      const changes = decodeRecord(isFiller(start) ? start : await this.#storage.read(RING + at, bytes));
      if (changes === undefined) return;
      await take(changes);
      this.#head += bytes;
    }
  }
}
