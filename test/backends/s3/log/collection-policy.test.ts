import { describe, expect, it } from 'vitest';
import {
  type Candidate,
  checkpointStep,
  chooseVictims,
} from '../../../../backends/s3/log/collection/collection-policy.ts';
import { pricesOf, S3_STANDARD } from '../../../../backends/s3/store/prices.ts';

const HOUR = 1;
const MONTH = 730 * HOUR;

function object(live: number, more: Partial<Candidate> = {}): Candidate {
  return { blocks: 2048, live, age: 10_000, hours: 0, ...more };
}

function space(objects: readonly Candidate[], target: number) {
  const sum = (count: (object: Candidate) => number) =>
    objects.reduce((all, object) => all + count(object), 0);
  return { stored: sum(({ blocks }) => blocks), live: sum(({ live }) => live), target };
}

const choose = (objects: readonly Candidate[], target: number, prices = S3_STANDARD) =>
  chooseVictims(objects, space(objects, target), prices);

describe('what is collected', () => {
  it('is nothing while the log occupies no more than it may', () => {
    expect(choose([object(2048), object(1900), object(2000)], 1.4)).toEqual([]);
    expect(choose([], 1.1)).toEqual([]);
  });

  it.each([1.1, 1.25, 1.4, 2])('leaves room below %f until the next look', (target) => {
    const objects = Array.from({ length: 40 }, (_, i) => object(1 + i * 50));
    const victims = new Set(choose(objects, target));
    const { live, stored } = space(objects, target);
    const freed = [...victims].reduce((sum, victim) => sum + victim.blocks - victim.live, 0);
    expect(stored - freed).toBeLessThanOrEqual(live * (target - checkpointStep(target)));
    expect(victims.size).toBeLessThan(objects.length);
  });

  it('is the emptiest of those that are equally old', () => {
    const [full, empty, half] = [object(2000), object(100), object(1000)];
    expect(choose([full, empty, half], 1.4).slice(0, 2)).toEqual([empty, half]);
  });

  it('is the older of those that are equally empty, and an old one before a young one that is somewhat emptier', () => {
    const [young, old] = [object(1000, { age: 100 }), object(1000, { age: 1_000_000 })];
    expect(choose([young, old], 2)).toEqual([old]);
    const emptier = object(900, { age: 100 });
    expect(choose([emptier, old], 1.6)[0]).toBe(old);
    // An empty one frees more than age is worth.
    const nearlyEmpty = object(5, { age: 10_000 });
    expect(choose([old, nearlyEmpty], 1.6)[0]).toBe(nearlyEmpty);
  });

  it('is not what takes a request for a few blocks where another gives more for its request', () => {
    const small = object(1, { blocks: 2 });
    const large = object(1024);
    expect(choose([small, large], 1.5)[0]).toBe(large);
  });

  it('is what costs more to keep than to move, also when there is room', () => {
    const kept = object(1024, { hours: 1 });
    const old = object(600, { hours: MONTH });
    expect(choose([kept, old], 10)).toEqual([old]);
    expect(choose([object(600, { hours: 1 })], 10)).toEqual([]);
    // It will have died by itself before that pays.
    expect(choose([object(20, { hours: HOUR })], 1000)).toEqual([]);
  });

  it('is what the bound asks for, and no more, where the store charges nothing', () => {
    const free = pricesOf({ endpoint: 'http://localhost:9000' });
    const old = object(600, { hours: MONTH });
    expect(choose([object(1024, { hours: 1 }), old], 10, free)).toEqual([]);
    const [small, large] = [object(1, { blocks: 2 }), object(1024)];
    expect(choose([small, large], 1.5, free)[0]).toBe(large);
    expect(choose([object(2000), object(100), object(1000)], 1.4, free)).not.toEqual([]);
  });

  it('is less where moving costs more, and more where storing does', () => {
    const objects = [object(1024, { hours: 12 })];
    expect(choose(objects, 10)).toEqual([]);
    expect(choose(objects, 10, { ...S3_STANDARD, storage: 1 })).toEqual(objects);
    const old = [object(600, { hours: MONTH })];
    expect(choose(old, 10, { ...S3_STANDARD, transferOut: 0.09 })).toEqual([]);
    expect(choose(old, 10, { ...S3_STANDARD, put: 100 })).toEqual([]);
  });

  it('never contains an object without garbage', () => {
    const objects = [object(2048, { hours: MONTH }), object(1)];
    expect(choose(objects, 1.1)).toEqual([objects[1]]);
  });
});
