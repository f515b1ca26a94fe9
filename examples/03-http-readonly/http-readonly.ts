import { type BlockDevice, BlockError, copyIn, defineBackend, type IoVec, iovLength } from 'blockgate/plugin';
import { z } from 'zod';

/** Reads by range requests. A disk that changes under its reader is broken, so the entity tag is checked each time. */
class HttpDisk implements BlockDevice {
  readonly info;
  readonly #url: string;
  readonly #etag: string;
  readonly #signal: AbortSignal;

  constructor(url: string, size: number, etag: string, signal: AbortSignal) {
    this.info = { size, caps: { concurrency: 'parallel' }, limits: { maxIo: 2 ** 20 } } as const;
    this.#url = url;
    this.#etag = etag;
    this.#signal = signal;
  }

  async read(offset: number, iov: IoVec): Promise<void> {
    const length = iovLength(iov);
    const range = `bytes=${offset}-${offset + length - 1}`;
    const response = await this.#get({ range, 'if-range': this.#etag });
    const body = new Uint8Array(await response.arrayBuffer());
    // A server that answers with the whole file (200) was asked with a tag that no longer fits.
    if (response.status !== 206 || body.length !== length) {
      const answer = `${response.status} with ${body.length} bytes`;
      throw new BlockError('EIO', `${range} of ${this.#url} was answered ${answer}.`, {
        retriable: response.status >= 500,
      });
    }
    copyIn(iov, body);
  }

  async #get(headers: Record<string, string>): Promise<Response> {
    try {
      return await fetch(this.#url, { headers, signal: this.#signal });
    } catch (cause) {
      throw new BlockError('ECONNLOST', `${this.#url} does not answer.`, { retriable: true, cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export default defineBackend({
  name: 'http-readonly',
  description: 'A disk image on a web server, read by range requests.',
  config: z.strictObject({ url: z.url().meta({ description: 'Address of the image.' }) }),
  open: async ({ url }, { signal }) => {
    const { ok, status, headers } = await fetch(url, { method: 'HEAD', signal });
    const size = Number(headers.get('content-length'));
    const etag = headers.get('etag');
    if (!ok) throw new Error(`${url} was answered ${status}.`);
    if (headers.get('accept-ranges') !== 'bytes') throw new Error(`${url} cannot be read in parts.`);
    if (!etag || etag.startsWith('W/')) throw new Error(`${url} has no strong entity tag.`);
    if (size === 0 || size % 512 !== 0)
      throw new Error(`${url} has ${size} bytes, no whole number of sectors.`);
    return new HttpDisk(url, size, etag, signal);
  },
});
