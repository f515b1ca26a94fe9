import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Change } from '../../../backends/redis/change.ts';
import type { ChangeBatch } from '../../../backends/redis/change-batch.ts';
import { ChangeQueue } from '../../../backends/redis/change-queue.ts';
import { KeySpace } from '../../../backends/redis/keys.ts';

describe('the queue of changes', () => {
  it('never has two connections carry changes of one chunk, keeps their order, and forgets none', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ add: fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 40 }) }),
        fc.record({ over: fc.nat(7) }),
      ),
      { maxLength: 60 },
    );
    const check = (
      lanes: number,
      shards: number,
      plan: readonly ({ add: number[] } | { over: number })[],
    ): void => {
      const queue = new ChangeQueue(new KeySpace('v', shards), lanes);
      const underWay: ChangeBatch[] = [];
      const added = new Map<number, Change[]>();
      const left = new Map<number, Change[]>();
      const into = (map: Map<number, Change[]>, change: Change): unknown =>
        map.set(change.chunk, [...(map.get(change.chunk) ?? []), change]);
      const send = (): void => {
        for (let batch = queue.next(); batch !== undefined; batch = queue.next()) {
          expect(batch.changes.length).toBeGreaterThan(0);
          for (const other of underWay) {
            expect(other.lane).not.toBe(batch.lane);
            for (const { chunk } of batch.changes)
              expect(other.changes.map((change) => change.chunk)).not.toContain(chunk);
          }
          for (const change of batch.changes) {
            expect(change.chunk & (shards - 1)).toBe(batch.shard);
            into(left, change);
          }
          underWay.push(batch);
        }
        expect(queue.length === 0 || underWay.length > 0).toBe(true);
      };
      const end = (index: number): void => {
        for (const batch of underWay.splice(index, 1)) queue.over(batch);
        send();
      };
      for (const step of plan)
        if ('add' in step) {
          for (const chunk of step.add) {
            const change = new Change(chunk, 'z', 0, 1);
            into(added, change);
            queue.add(change);
          }
          send();
        } else if (underWay.length > 0) end(step.over % underWay.length);
      while (underWay.length > 0) end(0);
      expect(left).toEqual(added);
      for (const [chunk, changes] of added)
        for (const [i, change] of changes.entries()) expect(left.get(chunk)![i]).toBe(change);
    };
    fc.assert(fc.property(fc.constantFrom(1, 2, 3), fc.constantFrom(1, 4), steps, check));
  });
});
