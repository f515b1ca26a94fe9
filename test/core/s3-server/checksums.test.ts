import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CHECKSUM_ALGORITHMS, createHasher, expectedChecksum } from '../../../core/s3-server/checksums.ts';
import { pattern } from '../../support/s3-conformance/context.ts';

/** Of `123456789`; the CRCs are the check values in the catalogue of parametrised CRC algorithms. */
const CHECK_VALUES: Readonly<Record<string, string>> = {
  CRC32: 'cbf43926',
  CRC32C: 'e3069283',
  CRC64NVME: 'ae8b14860a799888',
  SHA1: createHash('sha1').update('123456789').digest('hex'),
  SHA256: createHash('sha256').update('123456789').digest('hex'),
};

describe.each(CHECKSUM_ALGORITHMS)('%s', (algorithm) => {
  it('has its check value', () => {
    const hasher = createHasher(algorithm);
    hasher.update(Buffer.from('123456789'));
    expect(hasher.digest().toString('hex')).toBe(CHECK_VALUES[algorithm]);
  });

  it('does not depend on how the data is cut', () => {
    const data = pattern(1000);
    const whole = createHasher(algorithm);
    whole.update(data);
    const pieces = createHasher(algorithm);
    for (let at = 0, size = 1; at < data.length; at += size, size = (size * 3) % 61)
      pieces.update(data.subarray(at, at + size));
    expect(pieces.digest().toString('hex')).toBe(whole.digest().toString('hex'));
  });
});

describe('what headers announce', () => {
  it('is nothing without a checksum header', () => {
    expect(expectedChecksum({ 'x-amz-sdk-checksum-algorithm': 'CRC32' })).toBeUndefined();
  });

  it('may be in a trailer', () => {
    const expected = expectedChecksum({ 'x-amz-trailer': 'x-amz-checksum-sha1' });
    expect(expected).toEqual({ algorithm: 'SHA1', value: undefined });
  });

  it('must be one checksum', () => {
    const headers = { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-trailer': 'x-amz-checksum-crc32c' };
    expect(() => expectedChecksum(headers)).toThrow('Expecting a single x-amz-checksum- header.');
  });

  it('must name the algorithm that it gives', () => {
    const headers = { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-sdk-checksum-algorithm': 'SHA256' };
    expect(() => expectedChecksum(headers)).toThrow('x-amz-sdk-checksum-algorithm');
  });
});
