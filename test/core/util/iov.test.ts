import { describe, expect, it } from 'vitest';
import { copyIn, copyOut } from '../../../core/util/iov.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('copyOut and copyIn', () => {
  it('cross segments, from any byte of the list on', () => {
    const iov = [bytes(1, 2, 3), bytes(), bytes(4, 5)];
    const target = new Uint8Array(3);
    copyOut(iov, target, 1);
    expect(target).toEqual(bytes(2, 3, 4));
    copyIn(iov, bytes(7, 8), 2);
    expect(iov).toEqual([bytes(1, 2, 7), bytes(), bytes(8, 5)]);
  });

  it('fail when the memory was taken away meanwhile, so that nothing else passes for its content', () => {
    const iov = [bytes(1, 2, 3)];
    (iov[0]!.buffer as ArrayBuffer).transfer(0);
    const gone = expect.objectContaining({ code: 'ESHUTDOWN' });
    expect(() => copyOut(iov, new Uint8Array(3))).toThrow(gone);
    expect(() => copyIn(iov, new Uint8Array(3))).toThrow(gone);
  });
});
