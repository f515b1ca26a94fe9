import { describe, expect, it } from 'vitest';
import { featureNames, featureProblem, offeredFeatures } from '../../../../frontends/virtio/blk/features.ts';
import { CAPS } from './queue-rig.ts';

const ALWAYS = [
  'SIZE_MAX',
  'SEG_MAX',
  'BLK_SIZE',
  'TOPOLOGY',
  'MQ',
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'ACCESS_PLATFORM',
];

describe('the features a disk offers', () => {
  it.each([
    ['everything', {}, ['FLUSH', 'DISCARD', 'WRITE_ZEROES']],
    ['no flush: every write is durable', { flush: false }, ['DISCARD', 'WRITE_ZEROES']],
    ['zeros written out', { writeZeroes: 'emulate' as const }, ['FLUSH', 'DISCARD', 'WRITE_ZEROES']],
    ['no discard, no zeros', { discard: false, writeZeroes: 'none' as const }, ['FLUSH']],
    ['read-only', { write: false }, ['RO']],
  ])('%s', (_, change, expected) => {
    const names = featureNames(offeredFeatures({ ...CAPS, ...change }));
    expect(names.toSorted()).toEqual([...ALWAYS, ...expected].toSorted());
  });

  it('never include CONFIG_WCE, with which VDUSE refuses a device', () => {
    expect((offeredFeatures(CAPS) >> 11n) & 1n).toBe(0n);
  });
});

describe("a driver's choice of features", () => {
  const offered = offeredFeatures(CAPS);

  it('is accepted as long as it has what is required', () => {
    expect(featureProblem(offered, offered)).toBeUndefined();
    expect(featureProblem(offered, 1n << 32n)).toBeUndefined();
  });

  it('is refused without VERSION_1', () => {
    expect(featureProblem(offered, 1n << 33n)).toBe('the driver did not choose required features: VERSION_1');
  });

  it('is refused with a feature that was not offered', () => {
    expect(featureProblem(offered, offered | (1n << 34n) | (1n << 5n))).toBe(
      'the driver chose features that were not offered: RO, bit 34',
    );
  });
});
