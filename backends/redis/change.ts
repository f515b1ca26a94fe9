import { BlockError } from '../../core/plugin.ts';

/** What a change does to its chunk: see scripts.ts. */
export type ChangeKind = 'w' | 'z' | 'd';

/** A change of one chunk, from the call that makes it until it is durable: it may have to be sent again. */
export class Change {
  readonly chunk: number;
  readonly kind: ChangeKind;
  /** Within the chunk. */
  readonly offset: number;
  readonly length: number;
  /** Of a write: ours. */
  readonly data: Buffer | undefined;
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: BlockError) => void;

  constructor(chunk: number, kind: ChangeKind, offset: number, length: number, data?: Buffer) {
    this.chunk = chunk;
    this.kind = kind;
    this.offset = offset;
    this.length = length;
    this.data = data;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** The memory that it takes. Bytes. */
  get weight(): number {
    return 256 + (this.data?.length ?? 0);
  }
}

/** The chunk should be there: it was deleted, thrown away or lost, and nobody may take it for zeros. */
export function chunkLost(key: string): BlockError {
  return new BlockError('EIO', `the key ${key} is missing, and it was written`);
}
