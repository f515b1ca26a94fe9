import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  decodeProfile,
  encodeProfile,
  MAX_PROFILE,
  MAX_UNITS,
} from '../../../../../backends/s3/log/boot/profile.ts';
import { VolumeKey } from '../../../../../backends/s3/log/encryption/volume-key.ts';
import { seededRandom } from '../../../../../core/util/random.ts';
import { sealed } from '../check-world.ts';

const VOLUME = randomUUID();
const PLAIN = { name: 'a/boot-profile', key: undefined };
const ENCRYPTED = { name: 'a/boot-profile', key: new VolumeKey(Buffer.alloc(32, 7)) };

/** Each once, in runs, as a guest reads. */
function randomUnits(random: () => number, count: number): number[] {
  const units = new Set<number>();
  for (let unit = 0; units.size < count; ) {
    if (random() < 0.3) unit = Math.floor(random() * 2 ** 37) - 1;
    units.add(++unit);
  }
  return [...units];
}

describe.each([
  ['plain', PLAIN],
  ['encrypted', ENCRYPTED],
] as const)('a boot profile, %s', (_kind, opening) => {
  it.each([1, 2, 3, 4])('is what it was, in its order, seed %i', (seed) => {
    const random = seededRandom(seed);
    const units = randomUnits(random, Math.floor(random() * 1000));
    expect(decodeProfile(encodeProfile(units, VOLUME, opening), VOLUME, opening)).toEqual(units);
  });

  it('has a bound', () => {
    const most = Array.from({ length: MAX_UNITS }, (_, i) => 2 * i);
    const body = encodeProfile(most, VOLUME, opening);
    expect(body.length).toBeLessThan(MAX_PROFILE);
    expect(decodeProfile(body, VOLUME, opening)).toEqual(most);
    expect(decodeProfile(encodeProfile([...most, 1], VOLUME, opening), VOLUME, opening)).toBe(
      'it is too large',
    );
    expect(decodeProfile(encodeProfile([2 ** 37], VOLUME, opening), VOLUME, opening)).toMatch('no disk');
  });

  it.each([1, 2, 3])('is refused with any byte changed, or missing, seed %i', (seed) => {
    const random = seededRandom(seed);
    const body = encodeProfile(randomUnits(random, 50), VOLUME, opening);
    for (let i = 0; i < 300; i++) {
      const damaged = Buffer.from(body);
      damaged[Math.floor(random() * body.length)]! ^= 1 << Math.floor(random() * 8);
      expect(decodeProfile(damaged, VOLUME, opening)).toEqual(expect.any(String));
      const short = body.subarray(0, Math.floor(random() * body.length));
      expect(decodeProfile(short, VOLUME, opening)).toEqual(expect.any(String));
    }
  });

  it('is none of another volume', () => {
    expect(decodeProfile(encodeProfile([1], randomUUID(), opening), VOLUME, opening)).toBeUndefined();
  });
});

describe('an encrypted boot profile', () => {
  it('does not show what was read, and cannot be changed, moved or replaced by one that is not encrypted', () => {
    const body = encodeProfile([5, 6, 7], VOLUME, ENCRYPTED);
    const open = (bytes: Buffer, opening: typeof PLAIN | typeof ENCRYPTED) =>
      decodeProfile(bytes, VOLUME, opening);
    expect(body.equals(encodeProfile([5, 6, 7], VOLUME, ENCRYPTED))).toBe(false);
    for (let at = 32; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed[at]! ^= 1;
      expect(open(sealed(changed, 12), ENCRYPTED)).toEqual(expect.any(String));
    }
    expect(open(body, { ...ENCRYPTED, name: 'b/boot-profile' })).toMatch('cannot be opened');
    expect(open(body, { ...ENCRYPTED, key: new VolumeKey(Buffer.alloc(32, 8)) })).toMatch('cannot be opened');
    expect(open(body, PLAIN)).toBe('it is encrypted, and the volume is not');
    expect(open(encodeProfile([5], VOLUME, PLAIN), ENCRYPTED)).toBe('it is not encrypted, and the volume is');
  });
});
