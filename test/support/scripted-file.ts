import type { FileEngine } from '../../core/system/file-engine.ts';
import type { FileSyscalls } from '../../core/system/file-syscalls.ts';

/** Where a scripted call was made; `skip` is how much of the request was done before. */
export interface ScriptedCall {
  readonly call: string;
  readonly skip: number;
  readonly offset: number;
  /** Of a read only, and only if true. */
  readonly beside?: true;
}

/** An engine that gives the results it is told to, in order, and remembers what it was asked. */
export class ScriptedEngine implements FileEngine {
  readonly name = 'thread pool';
  readonly calls: ScriptedCall[] = [];
  readonly #results: number[];

  constructor(...results: number[]) {
    this.#results = results;
  }

  readv(_iov: unknown, skip: number, offset: number, beside: boolean): Promise<number> {
    return this.#next({ call: 'readv', skip, offset, ...(beside && { beside }) });
  }

  writev(_iov: unknown, skip: number, offset: number): Promise<number> {
    return this.#next({ call: 'writev', skip, offset });
  }

  fdatasync(): Promise<number> {
    return this.#next({ call: 'fdatasync', skip: 0, offset: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #next(call: ScriptedCall): Promise<number> {
    this.calls.push(call);
    const result = this.#results.shift();
    if (result === undefined) throw new Error(`no result left for ${call.call}`);
    return Promise.resolve(result);
  }
}

/** System calls that all succeed without doing anything, except for those given. */
export function scriptedSyscalls(overrides: Partial<FileSyscalls>): FileSyscalls {
  return {
    preadv: () => 0,
    pwritev: () => 0,
    lseek: () => 0,
    fallocate: () => Promise.resolve(0),
    discardBlocks: () => Promise.resolve(0),
    ...overrides,
  };
}
