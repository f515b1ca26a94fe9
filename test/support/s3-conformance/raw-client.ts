import { createHash, createHmac } from 'node:crypto';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

/** Where and as whom to send requests. */
export interface S3Target {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface RawRequest {
  readonly method: string;
  /** Encoded as it goes on the wire, from the bucket on: `/bucket/a%20b`. */
  readonly path: string;
  /** Decoded parameters. */
  readonly query?: Readonly<Record<string, string>>;
  /** Signed along with host and x-amz-*. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  /** Host header. Default the endpoint's. */
  readonly host?: string;
  /** Value of x-amz-content-sha256. Default the body's hash. */
  readonly payloadHash?: string;
  /** Time of signing, milliseconds since 1970. Default now. */
  readonly signedAt?: number;
  /** Sends the request without a signature. */
  readonly anonymous?: boolean;
  /** Changes the request after it was signed. */
  readonly tamper?: (headers: Record<string, string>) => void;
}

export interface RawResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Of an error document; undefined otherwise. */
  readonly code: string | undefined;
}

/** The signature of a request, as the start of a chain of chunk signatures. */
export interface Seed {
  readonly timestamp: string;
  readonly scope: string;
  readonly key: Buffer;
  readonly signature: string;
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Signs and sends requests that the SDK would not: odd paths, wrong signatures, hand-made framing. */
export class RawClient implements Disposable {
  readonly #target: S3Target;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(target: S3Target) {
    this.#target = target;
  }

  get target(): S3Target {
    return this.#target;
  }

  /** `body` may depend on the request's signature: that is how chunks are signed. */
  async send(raw: RawRequest, chunked?: (seed: Seed) => Buffer): Promise<RawResponse> {
    const { headers, seed } = this.#sign(raw);
    const body = chunked ? chunked(seed) : Buffer.from(raw.body ?? '');
    if (chunked || raw.body !== undefined || raw.method === 'PUT')
      headers['content-length'] = String(body.length);
    raw.tamper?.(headers);
    return this.#exchange(raw.method, raw.path + queryString(raw.query), headers, body);
  }

  /** The URL of a presigned request, valid for `expires` seconds. */
  presign(method: string, path: string, options: { expires?: number; signedAt?: number } = {}): string {
    const { endpoint, accessKeyId } = this.#target;
    const { timestamp, scope, key } = this.#scope(options.signedAt ?? Date.now());
    const query = {
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
      'X-Amz-Credential': `${accessKeyId}/${scope}`,
      'X-Amz-Date': timestamp,
      'X-Amz-Expires': String(options.expires ?? 60),
      'X-Amz-SignedHeaders': 'host',
    };
    const parameters = queryString(query).slice(1);
    const host = new URL(endpoint).host;
    const canonical = [method, path, parameters, `host:${host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n');
    const text = `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256(canonical)}`;
    return `${endpoint}${path}?${parameters}&X-Amz-Signature=${hmac(key, text).toString('hex')}`;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #sign(raw: RawRequest): { headers: Record<string, string>; seed: Seed } {
    const { endpoint, accessKeyId } = this.#target;
    const { timestamp, scope, key } = this.#scope(raw.signedAt ?? Date.now());
    const payloadHash = raw.payloadHash ?? sha256(raw.body ?? '');
    const host = raw.host ?? new URL(endpoint).host;
    const headers: Record<string, string> = { ...raw.headers, host };
    if (raw.anonymous) return { headers, seed: { timestamp, scope, key, signature: '' } };
    headers['x-amz-date'] = timestamp;
    headers['x-amz-content-sha256'] = payloadHash;
    const names = Object.keys(headers).sort();
    const lines = names.map((name) => `${name}:${headers[name]!.trim().replace(/ +/g, ' ')}\n`).join('');
    const parameters = queryString(raw.query).slice(1);
    const canonical = [raw.method, raw.path, parameters, lines, names.join(';'), payloadHash].join('\n');
    const signature = hmac(key, `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256(canonical)}`).toString(
      'hex',
    );
    headers['authorization'] =
      `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
    return { headers, seed: { timestamp, scope, key, signature } };
  }

  #scope(time: number): { timestamp: string; scope: string; key: Buffer } {
    const timestamp = new Date(time).toISOString().replace(/[-:]|\.\d{3}/g, '');
    const day = timestamp.slice(0, 8);
    const { region, secretAccessKey } = this.#target;
    const key = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, day), region), 's3'), 'aws4_request');
    return { timestamp, scope: `${day}/${region}/s3/aws4_request`, key };
  }

  #exchange(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: Buffer,
  ): Promise<RawResponse> {
    const { hostname, port } = new URL(this.#target.endpoint);
    return new Promise((resolve, reject) => {
      const outgoing = request({ hostname, port, method, path, headers, agent: this.#agent }, (incoming) => {
        const pieces: Buffer[] = [];
        incoming.on('data', (piece: Buffer) => pieces.push(piece));
        incoming.once('error', reject);
        incoming.once('end', () => {
          const whole = Buffer.concat(pieces);
          const code =
            incoming.statusCode! >= 300 ? /<Code>([^<]+)<\/Code>/.exec(whole.toString())?.[1] : undefined;
          resolve({ status: incoming.statusCode!, headers: incoming.headers, body: whole, code });
        });
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }
}

function queryString(query: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(query).map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.length === 0 ? '' : `?${pairs.sort().join('&')}`;
}

/** Frames data as aws-chunked with a signature per chunk, and a signed trailer if one is given. */
export function signedChunks(
  seed: Seed,
  chunks: readonly Buffer[],
  trailer?: readonly [string, string],
): Buffer {
  let previous = seed.signature;
  const sign = (kind: string, hashes: string) => {
    const text = `AWS4-HMAC-SHA256-${kind}\n${seed.timestamp}\n${seed.scope}\n${previous}\n${hashes}`;
    previous = hmac(seed.key, text).toString('hex');
    return previous;
  };
  const out: Buffer[] = [];
  for (const chunk of [...chunks, Buffer.alloc(0)]) {
    const signature = sign('PAYLOAD', `${sha256('')}\n${sha256(chunk)}`);
    out.push(Buffer.from(`${chunk.length.toString(16)};chunk-signature=${signature}\r\n`), chunk);
    if (chunk.length > 0) out.push(Buffer.from('\r\n'));
  }
  if (trailer) {
    const [name, value] = trailer;
    out.push(Buffer.from(`${name}:${value}\r\n`));
    out.push(Buffer.from(`x-amz-trailer-signature:${sign('TRAILER', sha256(`${name}:${value}\n`))}\r\n`));
  }
  out.push(Buffer.from('\r\n'));
  return Buffer.concat(out);
}

/** Frames data as aws-chunked without signatures, with a trailer. */
export function unsignedChunks(chunks: readonly Buffer[], trailer: readonly [string, string]): Buffer {
  const out: Buffer[] = [];
  for (const chunk of chunks)
    out.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
  out.push(Buffer.from(`0\r\n${trailer[0]}:${trailer[1]}\r\n\r\n`));
  return Buffer.concat(out);
}
