import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { BlockError } from '../../api/errors.ts';
import { asBlockError } from '../file-failure.ts';

/** Where cached pages are, by slot. A slot holds one page. */
export interface PageStorage extends AsyncDisposable {
  read(slot: number): Promise<Uint8Array>;
  /** `page` belongs to the storage from now on. */
  write(slot: number, page: Uint8Array): Promise<void>;
}

export class RamStorage implements PageStorage {
  readonly #pages: Uint8Array[] = [];

  async read(slot: number): Promise<Uint8Array> {
    return this.#pages[slot]!;
  }

  async write(slot: number, page: Uint8Array): Promise<void> {
    this.#pages[slot] = page;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** In a file, where a page that has changed since it was written is noticed. */
export class FileStorage implements PageStorage {
  readonly #file: FileHandle;
  readonly #pageSize: number;
  readonly #checksums: Uint32Array;

  /** `checksums`: by slot, of pages that the file has already; kept up to date. */
  constructor(file: FileHandle, pageSize: number, checksums: Uint32Array) {
    this.#file = file;
    this.#pageSize = pageSize;
    this.#checksums = checksums;
  }

  async read(slot: number): Promise<Uint8Array> {
    const page = new Uint8Array(this.#pageSize);
    const { bytesRead } = await asBlockError(
      'the cache',
      this.#file.read(page, 0, page.length, slot * this.#pageSize),
    );
    if (bytesRead < page.length || crc32(page) !== this.#checksums[slot])
      throw new BlockError('EIO', 'a page of the cache is not what it was when it was written');
    return page;
  }

  async write(slot: number, page: Uint8Array): Promise<void> {
    const { bytesWritten } = await asBlockError(
      'the cache',
      this.#file.write(page, 0, page.length, slot * this.#pageSize),
    );
    if (bytesWritten < page.length) throw new BlockError('EIO', 'a page of the cache was written in part');
    this.#checksums[slot] = crc32(page);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
