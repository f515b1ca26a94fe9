import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Where credentials and region come from: the SDK's chain, which refreshes them before they expire. */
export interface Access {
  credentials(options?: { forceRefresh?: boolean }): Promise<Credentials>;
  region(): Promise<string>;
}

export interface Unsigned {
  readonly method: string;
  readonly protocol: string;
  /** With the port, as in the header Host. */
  readonly host: string;
  /** Escaped. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Signatures of version 4 for requests that the SDK does not make. */
export class Signer {
  readonly #signer: SignatureV4;
  #offset = 0;

  constructor(access: Access) {
    this.#signer = new SignatureV4({
      service: 's3',
      region: () => access.region(),
      credentials: () => access.credentials(),
      sha256: NodeSha256,
      // Of S3 alone: its keys are escaped once.
      uriEscapePath: false,
      applyChecksum: false,
    });
  }

  /** The store's clock, from the header Date of an answer: ours may be wrong. */
  set storeTime(date: string | undefined) {
    const time = Date.parse(date ?? '');
    if (Number.isFinite(time)) this.#offset = time - Date.now();
  }

  /** Headers of the request with its signature. */
  async sign({ method, protocol, host, path, headers }: Unsigned): Promise<Record<string, string>> {
    const signed = await this.#signer.sign(
      { method, protocol, hostname: host, path, query: {}, headers: { host, ...headers } },
      { signingDate: new Date(Date.now() + this.#offset) },
    );
    return signed.headers;
  }
}

/** What the signer hashes with: that of Node.js. */
class NodeSha256 {
  readonly #secret: Uint8Array | string | undefined;
  #hash;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret =
      secret === undefined || typeof secret === 'string'
        ? secret
        : ArrayBuffer.isView(secret)
          ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
          : new Uint8Array(secret);
    this.#hash = this.#begin();
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = this.#begin();
  }

  #begin() {
    return this.#secret === undefined ? createHash('sha256') : createHmac('sha256', this.#secret);
  }
}
