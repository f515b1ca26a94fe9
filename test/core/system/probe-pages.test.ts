import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MemoryMap, PROT_READ, PROT_WRITE } from '../../../core/system/memory-map.ts';
import { probePages } from '../../../core/system/probe-pages.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const PAGE = 4096;
const PAGES = 8;
/** Pages of the mapping that its file still has: touching one of the others raises SIGBUS. */
const LEFT = 3;

/** A mapping whose file has been truncated under it. */
function truncated(prot = PROT_READ | PROT_WRITE) {
  const folder = tempFolder();
  const fd = openSync(folder.file('memory'), 'w+');
  ftruncateSync(fd, PAGES * PAGE);
  const map = new MemoryMap(fd, 0, PAGES * PAGE, prot);
  ftruncateSync(fd, LEFT * PAGE);
  return {
    fd,
    map,
    [Symbol.dispose]: () => {
      map.unmap();
      closeSync(fd);
      folder[Symbol.dispose]();
    },
  };
}

describe.each([
  ['read and written', PROT_READ | PROT_WRITE],
  ['read', PROT_READ],
])('a probe of memory to be %s', (_, prot) => {
  it('tells pages that are there from those whose touch would end the process', () => {
    using rig = truncated(prot);
    const present = Array.from({ length: PAGES }, (_, page) => rig.map.probe(page * PAGE, PAGE));
    expect(present).toEqual(Array.from({ length: PAGES }, (_, page) => page < LEFT));
  });

  it('is about all pages of the range', () => {
    using rig = truncated(prot);
    expect(rig.map.probe(0, LEFT * PAGE)).toBe(true);
    expect(rig.map.probe(0, LEFT * PAGE + 1)).toBe(false);
    expect(rig.map.probe(0, PAGES * PAGE)).toBe(false);
  });

  it('sees pages that appear later', () => {
    using rig = truncated(prot);
    expect(rig.map.probe(LEFT * PAGE, PAGE)).toBe(false);
    ftruncateSync(rig.fd, (LEFT + 1) * PAGE);
    expect(rig.map.probe(LEFT * PAGE, PAGE)).toBe(true);
  });

  it('gives the same answers where the kernel cannot populate the range', () => {
    using rig = truncated(prot);
    // An address inside of a page is refused with EINVAL, as all of it is by old kernels.
    for (let page = 0; page < PAGES; page++)
      expect(probePages(rig.map.address + page * PAGE + 8, 8, false)).toBe(page < LEFT);
  });
});

describe('a probe', () => {
  it('changes no byte', () => {
    using rig = truncated();
    const bytes = new Uint8Array(rig.map.buffer);
    for (let i = 0; i < LEFT * PAGE; i++) bytes[i] = i * 7;
    expect(rig.map.probe(0, LEFT * PAGE)).toBe(true);
    expect(bytes.subarray(0, LEFT * PAGE).every((byte, i) => byte === ((i * 7) & 0xff))).toBe(true);
  });

  it('finds nothing outside of the mapping, nor in one that is gone', () => {
    using rig = truncated();
    expect(rig.map.probe(PAGES * PAGE, 1)).toBe(false);
    expect(rig.map.probe(-PAGE, PAGE)).toBe(false);
    rig.map.detach();
    expect(rig.map.probe(0, PAGE)).toBe(false);
    rig.map.unmap();
    expect(rig.map.probe(0, PAGE)).toBe(false);
  });
});
