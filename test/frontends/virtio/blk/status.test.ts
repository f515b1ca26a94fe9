import { describe, expect, it } from 'vitest';
import { BlockError } from '../../../../core/api/errors.ts';
import { statusOf } from '../../../../frontends/virtio/blk/status.ts';

describe('the status of a failed request', () => {
  it.each([
    ['UNSUPP for what a device cannot do', new BlockError('ENOTSUP', 'no'), 2],
    ['IOERR for a full store', new BlockError('ENOSPC', 'full'), 1],
    ['IOERR for an error from elsewhere', new TypeError('bug'), 1],
    ['IOERR for something that is no error', 'ENOTSUP', 1],
  ])('is %s', (_, error, status) => {
    expect(statusOf(error)).toBe(status);
  });
});
