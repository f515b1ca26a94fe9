import { zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { extractKernel } from '../../../core/vm/kernel-image.ts';

/** A bzImage with the header fields that extraction reads, and a payload at some distance. */
function bzImage(payload: Uint8Array, options: { readonly version?: number } = {}): Buffer {
  const setupSectors = 3;
  const payloadOffset = 128;
  const image = Buffer.alloc((setupSectors + 1) * 512 + payloadOffset + payload.length + 4 + 64);
  image[0x1f1] = setupSectors;
  image.write('HdrS', 0x202, 'latin1');
  image.writeUInt16LE(options.version ?? 0x020f, 0x206);
  image.writeUInt32LE(payloadOffset, 0x248);
  image.writeUInt32LE(payload.length + 4, 0x24c);
  image.set(payload, (setupSectors + 1) * 512 + payloadOffset);
  return image;
}

const ELF = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(5000, 7)]);

describe('extractKernel', () => {
  it('unpacks the ELF kernel of a bzImage that is packed with zstd', () => {
    expect(extractKernel(bzImage(zstdCompressSync(ELF)))).toEqual(ELF);
  });

  it.each([
    ['is packed by another method', bzImage(Buffer.alloc(100, 1))],
    ['holds no ELF file', bzImage(zstdCompressSync(Buffer.alloc(100)))],
    ['speaks a boot protocol without a payload field', bzImage(zstdCompressSync(ELF), { version: 0x0207 })],
    ['is no bzImage', Buffer.from('something else')],
  ])('leaves alone an image that %s', (_, image) => {
    expect(extractKernel(image)).toBeUndefined();
  });
});
