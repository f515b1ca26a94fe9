import type { ResolvedDevice } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';
import { PassThrough } from './pass-through.ts';

/** Added when the disk is configured read-only: nothing that changes data gets past it, and the caps say so. */
export class ReadOnly extends PassThrough {
  constructor(next: ResolvedDevice) {
    super(next, { caps: { write: false, flush: false, discard: false, writeZeroes: 'none', fua: 'none' } });
  }

  override write(): never {
    throw new BlockError('EROFS', 'the disk is read-only');
  }

  override flush(): void {}

  override discard(): never {
    return this.write();
  }

  override writeZeroes(): never {
    return this.write();
  }
}
