import { describe, expect, it } from 'vitest';
import { featureNames, featureProblem, offeredFeatures } from '../../../../frontends/virtio/blk/features.ts';
import { CAPS } from './queue-rig.ts';

const RING = { layout: 'split', eventIdx: true, indirect: true } as const;

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
    const names = featureNames(offeredFeatures({ ...CAPS, ...change }, RING));
    expect(names.toSorted()).toEqual([...ALWAYS, ...expected].toSorted());
  });

  it.each([
    ['packed rings', { layout: 'packed' as const }, [...ALWAYS, 'RING_PACKED']],
    ['no event index', { eventIdx: false }, ALWAYS.filter((name) => name !== 'EVENT_IDX')],
    ['no indirect descriptors', { indirect: false }, ALWAYS.filter((name) => name !== 'INDIRECT_DESC')],
  ])('of its rings: %s', (_, change, expected) => {
    const names = featureNames(offeredFeatures({ ...CAPS, write: false }, { ...RING, ...change }));
    expect(names.toSorted()).toEqual([...expected, 'RO'].toSorted());
  });

  it('never include CONFIG_WCE, with which VDUSE refuses a device', () => {
    expect((offeredFeatures(CAPS, RING) >> 11n) & 1n).toBe(0n);
  });
});

describe("a driver's choice of features", () => {
  const offered = offeredFeatures(CAPS, RING);

  it('is accepted as long as it has what is required', () => {
    expect(featureProblem(offered, offered)).toBeUndefined();
    expect(featureProblem(offered, 1n << 32n)).toBeUndefined();
  });

  it('is refused without VERSION_1', () => {
    expect(featureProblem(offered, 1n << 33n)).toBe('the driver did not choose required features: VERSION_1');
  });

  it('is refused with a feature that was not offered', () => {
    expect(featureProblem(offered, offered | (1n << 35n) | (1n << 5n))).toBe(
      'the driver chose features that were not offered: RO, bit 35',
    );
  });
});
