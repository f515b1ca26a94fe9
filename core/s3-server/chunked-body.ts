import { createHash, type Hash } from 'node:crypto';
import { S3Error } from './errors.ts';

/** Checks the signatures inside an aws-chunked body; each covers the one before. */
export interface ChunkVerifier {
  verifyChunk(dataSha256: string, signature: string): void;
  verifyTrailer(trailerSha256: string, signature: string): void;
}

export interface ChunkedBodyOptions {
  /** Present when chunks are signed (STREAMING-AWS4-HMAC-SHA256-PAYLOAD…). */
  readonly verifier?: ChunkVerifier | undefined;
  /** Whether trailing headers follow the last chunk (…-TRAILER). */
  readonly trailer: boolean;
}

type State = 'size' | 'data' | 'data-end' | 'trailer' | 'done';

/** Longest line accepted: chunk sizes, signatures and checksums need far less. */
const MAX_LINE = 2048;
const MAX_TRAILERS = 16;
const CR = 0x0d;
const LF = 0x0a;
const SIZE_LINE = /^([0-9a-fA-F]{1,13})(?:;chunk-signature=([0-9a-f]{64}))?$/;

/**
 * Decodes Content-Encoding aws-chunked, which lies inside the HTTP body:
 * `hex-size[;chunk-signature=…] CRLF data CRLF`, repeated, a chunk of size 0, then trailers as `name:value CRLF`
 * (the last one `x-amz-trailer-signature` when signed) and an empty line.
 *
 * Data comes out before its signature is seen: use nothing of it until `end()` has returned.
 */
export class ChunkedBodyDecoder {
  readonly trailers = new Map<string, string>();
  readonly #verifier: ChunkVerifier | undefined;
  readonly #hasTrailer: boolean;
  #state: State = 'size';
  #line: Buffer = Buffer.alloc(0);
  #left = 0;
  #last = false;
  #signature: string | undefined;
  #hash: Hash | undefined;
  #trailerText = '';
  #trailerSigned = false;

  constructor(options: ChunkedBodyOptions) {
    this.#verifier = options.verifier;
    this.#hasTrailer = options.trailer;
  }

  /** Takes the next piece of the encoded body; returns the data in it as views of the same memory. */
  push(input: Buffer): Buffer[] {
    const out: Buffer[] = [];
    let at = 0;
    while (at < input.length) {
      if (this.#state === 'data') {
        const data = input.subarray(at, at + this.#left);
        at += data.length;
        this.#takeData(data, out);
        continue;
      }
      if (this.#state === 'done') throw malformed('bytes follow the end of the body');
      const newline = input.indexOf(LF, at);
      const piece = input.subarray(at, newline < 0 ? input.length : newline + 1);
      if (this.#line.length + piece.length > MAX_LINE) throw malformed('a line is too long');
      this.#line = this.#line.length === 0 ? piece : Buffer.concat([this.#line, piece]);
      at += piece.length;
      if (newline >= 0) this.#takeLine();
    }
    // What is kept over calls must not pin or alias the caller's buffer.
    if (this.#line.length > 0) this.#line = Buffer.from(this.#line);
    return out;
  }

  /** The encoded body is over: everything must have been there. */
  end(): void {
    if (this.#state !== 'done') throw new S3Error('IncompleteBody');
  }

  #takeData(data: Buffer, out: Buffer[]): void {
    this.#hash?.update(data);
    out.push(data);
    this.#left -= data.length;
    if (this.#left === 0) this.#state = 'data-end';
  }

  #takeLine(): void {
    const raw = this.#line;
    const hasCr = raw.at(-2) === CR;
    // Trailers may end in a bare LF: some signers transmit them as they canonicalise them.
    if (!hasCr && this.#state !== 'trailer') throw malformed('a line does not end in CRLF');
    const line = raw.toString('latin1', 0, raw.length - (hasCr ? 2 : 1));
    this.#line = Buffer.alloc(0);
    if (this.#state === 'size') this.#startChunk(line);
    else if (this.#state === 'data-end') this.#endChunk(line);
    else this.#takeTrailer(line);
  }

  #startChunk(line: string): void {
    const match = SIZE_LINE.exec(line);
    if (!match) throw malformed('a chunk size cannot be read');
    this.#left = Number.parseInt(match[1]!, 16);
    this.#last = this.#left === 0;
    this.#signature = match[2];
    if (this.#verifier) {
      if (this.#signature === undefined) throw new S3Error('SignatureDoesNotMatch', 'A chunk is not signed.');
      this.#hash = createHash('sha256');
    }
    if (!this.#last) {
      this.#state = 'data';
      return;
    }
    this.#verifyChunk();
    // Without trailers the empty line of the last chunk ends the body; with them, it ends the trailers.
    this.#state = this.#hasTrailer ? 'trailer' : 'data-end';
  }

  #endChunk(line: string): void {
    if (line !== '') throw malformed('a chunk is longer than its size');
    if (this.#last) {
      this.#state = 'done';
      return;
    }
    this.#verifyChunk();
    this.#state = 'size';
  }

  #verifyChunk(): void {
    if (this.#verifier) this.#verifier.verifyChunk(this.#hash!.digest('hex'), this.#signature!);
  }

  #takeTrailer(line: string): void {
    if (line === '') {
      if (this.#verifier && !this.#trailerSigned) {
        throw new S3Error('SignatureDoesNotMatch', 'The trailer is not signed.');
      }
      this.#state = 'done';
      return;
    }
    const colon = line.indexOf(':');
    if (colon < 1 || this.trailers.size >= MAX_TRAILERS) throw malformed('a trailer cannot be read');
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'x-amz-trailer-signature') {
      this.#verifier?.verifyTrailer(createHash('sha256').update(this.#trailerText).digest('hex'), value);
      this.#trailerSigned = true;
      return;
    }
    if (this.#trailerSigned) throw malformed('a trailer follows the signature');
    this.#trailerText += `${name}:${value}\n`;
    this.trailers.set(name, value);
  }
}

function malformed(what: string): S3Error {
  return new S3Error('InvalidRequest', `The aws-chunked body is malformed: ${what}.`);
}
