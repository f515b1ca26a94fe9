import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openThreadVolume, type StackOfDisk, threadVolume } from '../../../core/block/thread-volume.ts';
import { MemoryLogger } from '../../support/fake-device.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const opener = { module: 'file:///somewhere.ts', data: { fd: 3 } };
const stack: StackOfDisk = {
  name: 'disk0',
  backend: 'file',
  readOnly: false,
  opener,
  filters: 0,
  automatic: [],
};

describe('threadVolume', () => {
  it('describes a disk that every thread can open', () => {
    expect(threadVolume(stack)).toEqual({ name: 'disk0', backend: 'file', readOnly: false, opener });
    expect(threadVolume({ ...stack, automatic: ['split', 'readonly'] })).toBeDefined();
  });

  it.each<[string, Partial<StackOfDisk>]>([
    ['whose backend does not offer it', { opener: undefined }],
    ['with a filter, which may keep state', { filters: 1 }],
    ['whose calls have to come one at a time', { automatic: ['serialize'] }],
    ['whose blocks are read, changed and written', { automatic: ['split', 'align'] }],
  ])('keeps a disk in one thread %s', (_name, change) => {
    expect(threadVolume({ ...stack, ...change })).toBeUndefined();
  });
});

describe('openThreadVolume', () => {
  it('puts the layers of the disk on the device of the module', async () => {
    using folder = tempFolder();
    writeFileSync(
      folder.file('module.mjs'),
      `let open = 0;
       export const ahead = [];
       export const opened = () => open;
       export function openInThread({ fill }) {
         open++;
         return {
           info: { size: 4096, caps: { concurrency: 'parallel' }, limits: { maxIo: 512 } },
           read: (offset, iov) => { for (const segment of iov) segment.fill(fill); },
           write: () => {},
           prefetch: (offset, length) => { ahead.push([offset, length]); },
           [Symbol.asyncDispose]: async () => { open--; },
         };
       }`,
    );
    const module = pathToFileURL(folder.file('module.mjs')).href;
    const description = { ...stack, readOnly: true, opener: { module, data: { fill: 7 } } };
    const { volume, close } = await openThreadVolume(description, new MemoryLogger());
    const target = new Uint8Array(2048);
    await volume.read(0, [target], 0);
    expect(target.every((byte) => byte === 7)).toBe(true);
    expect(() => volume.write(0, [target], 0)).toThrow('read-only');
    await volume.prefetch(1024, 1024);
    const { opened, ahead } = (await import(module)) as { opened(): number; ahead: number[][] };
    expect(ahead).toEqual([
      [1024, 512],
      [1536, 512],
    ]);
    expect(opened()).toBe(1);
    await close();
    expect(opened()).toBe(0);
  });
});
