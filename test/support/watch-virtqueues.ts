import type { Chain } from '../../frontends/virtio/virtq/chain.ts';
import { PackedVirtqueue } from '../../frontends/virtio/virtq/packed.ts';
import { SplitVirtqueue } from '../../frontends/virtio/virtq/split.ts';

/** Told about every head between the moment it is taken from a ring and the moment it is given back. */
export interface VirtqueueWatcher {
  /** Its chain has been copied, and not looked at. */
  onTake(head: number): void;
  /** Its used element is written, and not published. */
  onGive(head: number): void;
}

let watcher: VirtqueueWatcher | undefined;

for (const ring of [SplitVirtqueue, PackedVirtqueue]) {
  const { pop, push } = ring.prototype;
  ring.prototype.pop = function (chain: Chain): number {
    const head = pop.call(this, chain);
    if (head >= 0) watcher?.onTake(head);
    return head;
  };
  ring.prototype.push = function (head: number, written: number): void {
    push.call(this, head, written);
    watcher?.onGive(head);
  };
}

/** Watches the rings of this process until disposed of. */
export function watchVirtqueues(by: VirtqueueWatcher): Disposable {
  watcher = by;
  return {
    [Symbol.dispose]: () => {
      watcher = undefined;
    },
  };
}
