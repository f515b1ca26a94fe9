import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeRequest, encodeReply } from '../../../frontends/vduse/messages.ts';
import { readVqState } from '../../../frontends/vduse/vq-state.ts';
import type { RingState } from '../../../frontends/virtio/virtq/ring-state.ts';

function message(type: number, id: number, payload: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(152);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, id, true);
  payload(view);
  return bytes;
}

describe('decodeRequest', () => {
  it('reads SET_STATUS', () => {
    expect(decodeRequest(message(1, 7, (view) => view.setUint8(24, 0x0f)))).toEqual({
      id: 7,
      type: 'set-status',
      status: 0x0f,
    });
  });

  it('reads GET_VQ_STATE', () => {
    expect(decodeRequest(message(0, 8, (view) => view.setUint32(24, 3, true)))).toEqual({
      id: 8,
      type: 'get-vq-state',
      index: 3,
    });
  });

  it('reads UPDATE_IOTLB of the whole address space', () => {
    const whole = message(2, 9, (view) => view.setBigUint64(32, 2n ** 64n - 1n, true));
    expect(decodeRequest(whole)).toEqual({
      id: 9,
      type: 'update-iotlb',
      start: 0n,
      last: 2n ** 64n - 1n,
      asid: 0,
    });
  });

  it('reads UPDATE_IOTLB of one of several address spaces', () => {
    const range = message(2, 9, (view) => view.setUint32(40, 3, true));
    expect(decodeRequest(range)).toEqual({ id: 9, type: 'update-iotlb', start: 0n, last: 0n, asid: 3 });
  });

  it('reads SET_VQ_GROUP_ASID', () => {
    const words = message(3, 10, (view) => {
      view.setUint32(24, 1, true);
      view.setUint32(28, 2, true);
    });
    expect(decodeRequest(words)).toEqual({ id: 10, type: 'set-vq-group-asid', group: 1, asid: 2 });
  });

  it.each([true, false])('reads SET_VQ_READY: %s', (ready) => {
    const words = message(4, 11, (view) => {
      view.setUint32(24, 5, true);
      view.setUint32(28, ready ? 1 : 0, true);
    });
    expect(decodeRequest(words)).toEqual({ id: 11, type: 'set-vq-ready', index: 5, ready });
  });

  it('reads SUSPEND', () => {
    expect(decodeRequest(message(5, 12, () => {}))).toEqual({ id: 12, type: 'suspend' });
  });

  it('keeps the number of what it does not know', () => {
    expect(decodeRequest(message(42, 0xffff_ffff, () => {}))).toEqual({
      id: 0xffff_ffff,
      type: 'unknown',
      number: 42,
    });
  });

  it('returns for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const request = decodeRequest(bytes);
        expect(request === undefined).toBe(bytes.length < 152);
      }),
    );
  });

  it('reads a message that lies inside a larger buffer', () => {
    const large = new Uint8Array(400);
    large.set(
      message(1, 5, (view) => view.setUint8(24, 3)),
      100,
    );
    expect(decodeRequest(large.subarray(100, 252))).toEqual({ id: 5, type: 'set-status', status: 3 });
  });
});

describe('encodeReply', () => {
  it('writes the result and leaves what is reserved at zero', () => {
    const bytes = encodeReply(0x01020304, { ok: false });
    expect(bytes).toHaveLength(152);
    expect([...bytes.subarray(0, 8)]).toEqual([4, 3, 2, 1, 1, 0, 0, 0]);
    expect(bytes.subarray(8).every((byte) => byte === 0)).toBe(true);
  });

  it.each<[RingState, readonly number[]]>([
    [{ layout: 'split', availIndex: 0xfffe }, [0xfffe, 0, 0, 0]],
    [{ layout: 'packed', avail: { index: 0x7fff, wrap: 1 }, used: { index: 3, wrap: 0 } }, [1, 0x7fff, 0, 3]],
  ])('writes the state of a virtqueue: %j', (state, words) => {
    const bytes = encodeReply(1, { ok: true, vqState: { index: 2, state } });
    const view = new DataView(bytes.buffer);
    expect(view.getUint32(4, true)).toBe(0);
    expect(view.getUint32(24, true)).toBe(2);
    expect([28, 30, 32, 34].map((at) => view.getUint16(at, true))).toEqual(words);
    expect(bytes.subarray(36).every((byte) => byte === 0)).toBe(true);
    expect(readVqState(view, 28, state.layout)).toEqual(state);
  });
});
