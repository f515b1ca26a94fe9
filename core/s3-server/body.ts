import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import {
  type Checksum,
  type ChecksumAlgorithm,
  checksumHeader,
  createHasher,
  expectedChecksum,
  type Hasher,
  requireChecksumValue,
} from './checksums.ts';
import { ChunkedBodyDecoder } from './chunked-body.ts';
import { S3Error } from './errors.ts';
import { header, type S3Request } from './request.ts';
import type { Payload } from './sigv4.ts';

/** Where the bytes of a body go, in order. What it returns is awaited before more is read from the network. */
export type BodySink = (data: Buffer) => void | Promise<void>;

/** A body that arrived whole and agrees with everything its sender said of it. */
export interface ReceivedBody {
  /** Bytes, after decoding. */
  readonly size: number;
  /** Hex. */
  readonly md5: string;
  readonly checksum: Checksum | undefined;
}

export interface BodyLimits {
  /** Bytes; a longer body is `EntityTooLarge`, as soon as its headers say so. */
  readonly maxSize: number;
  /** A checksum to compute although the sender announces none. */
  readonly computeChecksum?: ChecksumAlgorithm | undefined;
  /** True for CompleteMultipartUpload, whose x-amz-checksum-* headers speak of the object, not of this body. */
  readonly ignoreChecksumHeaders?: boolean;
}

/** Reads the body of one request and verifies it: length, chunk signatures, payload hash, MD5, checksum. */
export class BodyReader {
  readonly #request: S3Request;
  readonly #payload: Payload;
  readonly #response: ServerResponse;
  #bytes = 0;

  constructor(request: S3Request, payload: Payload, response: ServerResponse) {
    this.#request = request;
    this.#payload = payload;
    this.#response = response;
  }

  /** Decoded bytes received so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Streams the body into `sink`. When it throws, what the sink took so far must be thrown away. */
  async receive(sink: BodySink, limits: BodyLimits): Promise<ReceivedBody> {
    const length = this.#decodedLength();
    if (length > limits.maxSize) {
      throw new S3Error('EntityTooLarge', undefined, {
        ProposedSize: String(length),
        MaxSizeAllowed: String(limits.maxSize),
      });
    }
    const digests = new BodyDigests(this.#request, this.#payload, limits);
    const take = async (data: Buffer) => {
      this.#bytes += data.length;
      if (this.#bytes > length)
        throw new S3Error('IncompleteBody', 'The body is longer than the headers announced.');
      digests.update(data);
      await sink(data);
    };
    if (this.#request.headers.expect?.toLowerCase() === '100-continue') this.#response.writeContinue();
    const trailers = await this.#pump(take);
    if (this.#bytes !== length) throw new S3Error('IncompleteBody');
    return { size: length, ...digests.verify(trailers) };
  }

  /** The whole of a small body, such as an XML document. */
  async receiveText(limits: BodyLimits): Promise<string> {
    const pieces: Buffer[] = [];
    await this.receive((data) => void pieces.push(data), limits);
    return Buffer.concat(pieces).toString('utf8');
  }

  async #pump(take: (data: Buffer) => Promise<void>): Promise<ReadonlyMap<string, string>> {
    // When a piece is refused, the connection must live on to carry the answer.
    const pieces: AsyncIterable<Buffer> = this.#request.incoming.iterator({ destroyOnReturn: false });
    if (this.#payload.kind !== 'chunked') {
      for await (const data of pieces) await take(data);
      return new Map();
    }
    const decoder = new ChunkedBodyDecoder(this.#payload);
    for await (const data of pieces) {
      for (const piece of decoder.push(data)) await take(piece);
    }
    decoder.end();
    return decoder.trailers;
  }

  #decodedLength(): number {
    const name = this.#payload.kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length';
    const value = header(this.#request, name);
    if (value === undefined) {
      // A request without any framing header has no body (RFC 9112 section 6.3); that is how bodiless POSTs come.
      if (
        name === 'content-length' &&
        !this.#request.headers['transfer-encoding'] &&
        this.#request.method !== 'PUT'
      ) {
        return 0;
      }
      throw new S3Error('MissingContentLength');
    }
    if (!/^\d{1,15}$/.test(value))
      throw new S3Error('InvalidArgument', `The value of ${name} is not a length.`);
    return Number(value);
  }
}

class BodyDigests {
  readonly #md5 = createHash('md5');
  readonly #sha256: { readonly expected: string; readonly hash: Hasher } | undefined;
  readonly #checksum: { readonly algorithm: ChecksumAlgorithm; readonly hash: Hasher } | undefined;
  /** Base64 of the header, when the sender gave one; `trailer` when it comes last. */
  readonly #announced: string | 'trailer' | undefined;
  readonly #contentMd5: string | undefined;

  constructor(request: S3Request, payload: Payload, limits: BodyLimits) {
    const expected = limits.ignoreChecksumHeaders ? undefined : expectedChecksum(request.headers);
    const algorithm = expected?.algorithm ?? limits.computeChecksum;
    this.#announced = expected ? (expected.value ?? 'trailer') : undefined;
    this.#checksum = algorithm && { algorithm, hash: createHasher(algorithm) };
    this.#sha256 =
      payload.kind === 'signed' ? { expected: payload.sha256, hash: createHash('sha256') } : undefined;
    this.#contentMd5 = header(request, 'content-md5');
    if (this.#contentMd5 !== undefined && Buffer.from(this.#contentMd5, 'base64').length !== 16) {
      throw new S3Error('InvalidDigest');
    }
  }

  update(data: Buffer): void {
    this.#md5.update(data);
    this.#sha256?.hash.update(data);
    this.#checksum?.hash.update(data);
  }

  verify(trailers: ReadonlyMap<string, string>): Pick<ReceivedBody, 'md5' | 'checksum'> {
    const md5 = this.#md5.digest();
    const sha256 = this.#sha256?.hash.digest().toString('hex');
    if (this.#sha256 && sha256 !== this.#sha256.expected) {
      throw new S3Error('XAmzContentSHA256Mismatch', undefined, {
        ClientComputedContentSHA256: this.#sha256.expected,
        S3ComputedContentSHA256: sha256!,
      });
    }
    if (this.#contentMd5 !== undefined && md5.toString('base64') !== this.#contentMd5) {
      throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.', {
        ExpectedDigest: this.#contentMd5,
        CalculatedDigest: md5.toString('base64'),
      });
    }
    return { md5: md5.toString('hex'), checksum: this.#verifyChecksum(trailers) };
  }

  #verifyChecksum(trailers: ReadonlyMap<string, string>): Checksum | undefined {
    if (!this.#checksum) return undefined;
    const { algorithm, hash } = this.#checksum;
    const value = hash.digest().toString('base64');
    const name = checksumHeader(algorithm);
    const announced = this.#announced === 'trailer' ? trailers.get(name) : this.#announced;
    if (this.#announced === 'trailer') {
      if (announced === undefined) {
        throw new S3Error('InvalidRequest', `The trailer ${name} that x-amz-trailer announces is missing.`);
      }
      requireChecksumValue(algorithm, announced, name);
    }
    if (announced !== undefined && announced !== value) {
      throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
    }
    return { algorithm, value, type: 'FULL_OBJECT' };
  }
}
