import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeReply,
  encodeDeviceDelete,
  encodeDeviceNew,
  encodeGetFamily,
} from '../../../frontends/vduse/netlink.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/[^0-9a-f]/g, ''), 'hex'));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('requests', () => {
  it('attaches a device', () => {
    // As a kernel accepted it, for family 0x23 and device "d2".
    const expected = hex(`
      28000000 2300 0500 01000000 00000000 03010000
      0a00 0200 7664757365 00 0000
      0700 0400 6432 00 00`);
    expect(text(encodeDeviceNew(0x23, 'd2'))).toBe(text(expected));
  });

  it('detaches a device', () => {
    const expected = hex('1c000000 2300 0500 01000000 00000000 04010000 0700 0400 6432 00 00');
    expect(text(encodeDeviceDelete(0x23, 'd2'))).toBe(text(expected));
  });

  it('asks for a family', () => {
    const expected = hex('20000000 1000 0100 01000000 00000000 03020000 0900 0200 76647061 00 000000');
    expect(text(encodeGetFamily('vdpa'))).toBe(text(expected));
  });
});

describe('decodeReply', () => {
  it('finds the number of a family among other attributes', () => {
    const reply = hex(`
      28000000 1000 0000 01000000 00000000 01020000
      0900 0200 76647061 00 000000
      0600 0100 2300 0000`);
    expect(decodeReply(reply)).toEqual({ errno: 0, familyId: 0x23 });
  });

  it('reads an acknowledgement', () => {
    const reply = hex('24000000 0200 0001 01000000 00000000 00000000 28000000 2300 0500 01000000 00000000');
    expect(decodeReply(reply)).toEqual({ errno: 0 });
  });

  it.each([
    ['that does not repeat the request', 0x300, ''],
    ['that repeats the request', 0x200, '03010000 0700 0400 6432 00 00'],
  ])('reads an error with a text, %s', (_name, flags, payload) => {
    const words = Buffer.from('no such device\0').toString('hex');
    const body = hex(`
      ${text(new Uint8Array(new Int32Array([-19]).buffer))}
      ${payload === '' ? '28000000' : '1c000000'} 2300 0500 01000000 00000000 ${payload}
      1300 0100 ${words} 00`);
    const header = new DataView(new ArrayBuffer(16));
    header.setUint32(0, 16 + body.length, true);
    header.setUint16(4, 2, true);
    header.setUint16(6, flags, true);
    const reply = Uint8Array.from([...new Uint8Array(header.buffer), ...body]);
    expect(decodeReply(reply)).toEqual({ errno: 19, message: 'no such device' });
  });

  it('returns or throws RangeError for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          expect(decodeReply(bytes).errno).toBeTypeOf('number');
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});
