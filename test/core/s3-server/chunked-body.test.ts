import { createHash, randomInt } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkedBodyDecoder, type ChunkVerifier } from '../../../core/s3-server/chunked-body.ts';
import { signedChunks, unsignedChunks } from '../../support/s3-conformance/raw-client.ts';

const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));
const TRAILER = ['x-amz-checksum-crc32', 'AAAAAA=='] as const;
const signature = {
  timestamp: '20260101T000000Z',
  scope: '20260101/r/s3/aws4_request',
  key: Buffer.from('key'),
  signature: 'seed',
};

/** Takes any signature, and notes the hashes it was shown. */
class NotingVerifier implements ChunkVerifier {
  readonly chunks: string[] = [];
  readonly trailers: string[] = [];
  verifyChunk(data: string): void {
    this.chunks.push(data);
  }
  verifyTrailer(trailer: string): void {
    this.trailers.push(trailer);
  }
}

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

/** Cuts `data` at places that depend on `cuts` and feeds the pieces to the decoder. */
function decode(decoder: ChunkedBodyDecoder, data: Buffer, cuts: readonly number[]): Buffer {
  const places = [0, ...cuts.map((cut) => cut % (data.length + 1)).sort((a, b) => a - b), data.length];
  const out: Buffer[] = [];
  for (let i = 1; i < places.length; i++) {
    // A fresh copy each, overwritten afterwards: the decoder must not keep views of its input.
    const piece = Buffer.from(data.subarray(places[i - 1], places[i]));
    out.push(...decoder.push(piece).map((part) => Buffer.from(part)));
    piece.fill(0xff);
  }
  decoder.end();
  return Buffer.concat(out);
}

const bodies = fc.array(
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 6 },
);
const cutting = fc.array(fc.nat(4000), { maxLength: 12 });

describe(`aws-chunked (repeat with SEED=${SEED})`, () => {
  it('decodes unsigned chunks and their trailer however they are cut', () => {
    fc.assert(
      fc.property(bodies, cutting, (chunks, cuts) => {
        const decoder = new ChunkedBodyDecoder({ trailer: true });
        const data = decode(decoder, unsignedChunks(chunks, TRAILER), cuts);
        expect(data.equals(Buffer.concat(chunks))).toBe(true);
        expect([...decoder.trailers]).toEqual([TRAILER]);
      }),
      { seed: SEED },
    );
  });

  it('decodes signed chunks however they are cut, and shows the verifier the hash of each', () => {
    fc.assert(
      fc.property(bodies, cutting, fc.boolean(), (chunks, cuts, trailer) => {
        const verifier = new NotingVerifier();
        const decoder = new ChunkedBodyDecoder({ verifier, trailer });
        const data = decode(decoder, signedChunks(signature, chunks, trailer ? TRAILER : undefined), cuts);
        expect(data.equals(Buffer.concat(chunks))).toBe(true);
        expect(verifier.chunks).toEqual([...chunks, ''].map(sha256));
        expect(verifier.trailers).toEqual(trailer ? [sha256(`${TRAILER.join(':')}\n`)] : []);
      }),
      { seed: SEED },
    );
  });

  it('takes any other bytes without anything but an S3 error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.boolean(), (bytes, trailer) => {
        const decoder = new ChunkedBodyDecoder({ trailer });
        try {
          decoder.push(Buffer.from(bytes));
          decoder.end();
        } catch (error) {
          expect(error).toMatchObject({ name: 'S3Error' });
        }
      }),
      { seed: SEED },
    );
  });

  it.each([
    ['no size', 'xyz\r\n'],
    ['a line without CR', '1\na\r\n0\r\n\r\n'],
    ['more data than the size', '1\r\nab\r\n0\r\n\r\n'],
    ['bytes after the end', '0\r\n\r\nmore'],
    ['an endless line', 'a'.repeat(5000)],
    ['an enormous size', 'ffffffffffffffffff\r\n'],
  ])('refuses %s', (_, text) => {
    const decoder = new ChunkedBodyDecoder({ trailer: false });
    expect(() => decoder.push(Buffer.from(text))).toThrow('The aws-chunked body is malformed');
  });

  it('refuses an unsigned chunk where chunks are signed', () => {
    const decoder = new ChunkedBodyDecoder({ verifier: new NotingVerifier(), trailer: false });
    expect(() => decoder.push(Buffer.from('1\r\na\r\n'))).toThrow('A chunk is not signed.');
  });

  it('refuses an unsigned trailer where chunks are signed', () => {
    const decoder = new ChunkedBodyDecoder({ verifier: new NotingVerifier(), trailer: true });
    const body = `0;chunk-signature=${'0'.repeat(64)}\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n`;
    expect(() => decoder.push(Buffer.from(body))).toThrow('The trailer is not signed.');
  });

  it('is incomplete without the last chunk', () => {
    const decoder = new ChunkedBodyDecoder({ trailer: false });
    decoder.push(Buffer.from('1\r\na\r\n'));
    expect(() => decoder.end()).toThrow('The body ended before');
  });
});
