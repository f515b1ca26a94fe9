import { closeSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';
import { describe, expect, it } from 'vitest';
import { addressOf, MemoryMap, PROT_READ, PROT_WRITE } from '../../../core/system/memory-map.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const libc = koffi.load('libc.so.6');
/** By address, as a thread of the kernel knows memory. */
const write = libc.func('int64_t write(int fd, int64_t buffer, size_t length)');
const read = libc.func('int64_t read(int fd, int64_t buffer, size_t length)');

const LENGTH = 8192;

function setup() {
  const folder = tempFolder();
  const fd = openSync(folder.file('memory'), 'w+');
  ftruncateSync(fd, LENGTH);
  const map = new MemoryMap(fd, 0, LENGTH, PROT_READ | PROT_WRITE);
  return {
    fd,
    map,
    bytes: new Uint8Array(map.buffer),
    [Symbol.dispose]: () => {
      map.unmap();
      closeSync(fd);
      folder[Symbol.dispose]();
    },
  };
}

const isMapped = (address: number): boolean =>
  readFileSync('/proc/self/maps', 'utf8').includes(`${address.toString(16)}-`);

describe('MemoryMap', () => {
  it('shares the bytes of the file both ways', () => {
    using rig = setup();
    rig.bytes[5000] = 42;
    const byte = new Uint8Array(1);
    readSync(rig.fd, byte, 0, 1, 5000);
    expect(byte[0]).toBe(42);
    writeSync(rig.fd, Uint8Array.of(43), 0, 1, 5001);
    expect(rig.bytes[5001]).toBe(43);
  });

  it('takes every view along when it is unmapped', () => {
    using rig = setup();
    const view = rig.bytes.subarray(4096);
    rig.map.unmap();
    expect(view.length).toBe(0);
    expect(rig.map.mapped).toBe(false);
    expect(isMapped(rig.map.address)).toBe(false);
    rig.map.unmap();
  });

  it('keeps the addresses but not the file when it is detached', () => {
    using rig = setup();
    rig.bytes.fill(7);
    rig.map.detach();
    expect(rig.bytes.length).toBe(0);
    expect(isMapped(rig.map.address)).toBe(true);
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toMatch(/blockgate-test-\w+\/memory/);
    const byte = new Uint8Array(1);
    readSync(rig.fd, byte, 0, 1, 0);
    expect(byte[0]).toBe(7);
    rig.map.unmap();
    expect(isMapped(rig.map.address)).toBe(false);
  });

  it('makes system calls that are late fail when it is detached: they neither read zeros nor write', () => {
    using rig = setup();
    const { address } = rig.map;
    rig.map.detach();
    expect(write(rig.fd, address, 512)).toBe(-1);
    expect(koffi.errno()).toBe(constants.errno.EFAULT);
    expect(read(rig.fd, address, 512)).toBe(-1);
    expect(koffi.errno()).toBe(constants.errno.EFAULT);
  });

  it('throws with the name of the error when it cannot map', () => {
    expect(() => new MemoryMap(-1, 0, LENGTH, PROT_READ)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });
});

describe('addressOf', () => {
  it('follows the offset of a view', () => {
    using rig = setup();
    expect(addressOf(rig.bytes)).toBe(rig.map.address);
    expect(addressOf(rig.bytes.subarray(100))).toBe(rig.map.address + 100);
    const own = new Uint8Array(64);
    expect(addressOf(own.subarray(3)) - addressOf(own)).toBe(3);
  });
});
