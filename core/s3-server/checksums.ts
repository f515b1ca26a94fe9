import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { crc32 } from 'node:zlib';
import { crc32c } from './crc32c.ts';
import { Crc64Nvme } from './crc64nvme.ts';
import { S3Error } from './errors.ts';

export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** FULL_OBJECT: over the object's bytes. COMPOSITE: over the checksums of its parts, written `value-N`. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

/** A checksum kept with an object or part; `value` is base64, with `-N` behind it when composite. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly value: string;
  readonly type: ChecksumType;
}

/** What the sender says of the body's checksum: its value in a header, or that a trailer will bring it. */
export interface ExpectedChecksum {
  readonly algorithm: ChecksumAlgorithm;
  /** Base64; undefined when it comes in the trailer. */
  readonly value: string | undefined;
}

export interface Hasher {
  update(data: Uint8Array): unknown;
  digest(): Buffer;
}

const DIGEST_BYTES: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

export function createHasher(algorithm: ChecksumAlgorithm): Hasher {
  if (algorithm === 'SHA1' || algorithm === 'SHA256') return createHash(algorithm.toLowerCase());
  if (algorithm === 'CRC64NVME') return new Crc64Nvme();
  return new Crc32Hasher(algorithm === 'CRC32' ? crc32 : crc32c);
}

class Crc32Hasher implements Hasher {
  readonly #step: (data: Uint8Array, crc: number) => number;
  #crc = 0;

  constructor(step: (data: Uint8Array, crc: number) => number) {
    this.#step = step;
  }

  update(data: Uint8Array): void {
    this.#crc = this.#step(data, this.#crc);
  }

  digest(): Buffer {
    const out = Buffer.allocUnsafe(4);
    out.writeUInt32BE(this.#crc);
    return out;
  }
}

/** `CRC32C` → `x-amz-checksum-crc32c`. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`;
}

/** `CRC32C` → `ChecksumCRC32C`, the name of the element in documents. */
export function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm}`;
}

export function parseChecksumAlgorithm(name: string): ChecksumAlgorithm {
  const algorithm = CHECKSUM_ALGORITHMS.find((candidate) => candidate === name.toUpperCase());
  if (algorithm === undefined) {
    throw new S3Error('InvalidRequest', `Checksum algorithm ${name} is not supported.`);
  }
  return algorithm;
}

/** Refuses a value that is not the base64 of as many bytes as the algorithm yields. */
export function requireChecksumValue(algorithm: ChecksumAlgorithm, value: string, name: string): void {
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length !== DIGEST_BYTES[algorithm] || bytes.toString('base64') !== value) {
    throw new S3Error('InvalidRequest', `Value for ${name} header is invalid.`);
  }
}

/** The checksum that the request's headers announce for its body, if any; more than one is refused. */
export function expectedChecksum(headers: IncomingHttpHeaders): ExpectedChecksum | undefined {
  const found: ExpectedChecksum[] = [];
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const name = checksumHeader(algorithm);
    const value = headers[name];
    if (typeof value === 'string') {
      requireChecksumValue(algorithm, value, name);
      found.push({ algorithm, value });
    }
    if (trailerNames(headers).includes(name)) found.push({ algorithm, value: undefined });
  }
  if (found.length > 1) {
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  }
  const named = headers['x-amz-sdk-checksum-algorithm'];
  if (typeof named === 'string' && found[0] && parseChecksumAlgorithm(named) !== found[0].algorithm) {
    throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.');
  }
  return found[0];
}

function trailerNames(headers: IncomingHttpHeaders): string[] {
  const value = headers['x-amz-trailer'];
  if (typeof value !== 'string') return [];
  return value.split(',').map((name) => name.trim().toLowerCase());
}
