import { describe, expect, it } from 'vitest';
import { ReplayWindow, weightOf } from '../../../backends/nbd/replay-window.ts';
import { NbdRequest } from '../../../backends/nbd/request.ts';
import { NBD_CMD_TRIM, NBD_CMD_WRITE } from '../../../core/nbd/protocol.ts';

const write = (offset: number) => new NbdRequest(NBD_CMD_WRITE, 0, offset, 512, { data: Buffer.alloc(512) });

describe('the window of what can be sent again', () => {
  it('keeps changes until a flush that began after them', () => {
    const window = new ReplayWindow();
    const [a, b, c] = [write(0), new NbdRequest(NBD_CMD_TRIM, 0, 512, 512), write(1024)];
    window.add(a);
    window.add(b);
    const mark = window.mark;
    window.add(c);
    window.flushed(mark);
    expect(window.requests).toEqual([c]);
    expect(window.bytes).toBe(weightOf(c));
  });

  it('does not take two flushes with the same mark for one that covers more', () => {
    const window = new ReplayWindow();
    window.add(write(0));
    const mark = window.mark;
    const later = write(512);
    window.add(later);
    window.flushed(mark);
    window.flushed(mark);
    window.flushed(undefined);
    expect(window.requests).toEqual([later]);
  });
});
