import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DeviceLink } from '../../../frontends/vduse/device-link.ts';
import { tempFolder } from '../../support/temp-folder.ts';

function setup() {
  const folder = tempFolder();
  const paths = { dev: folder.path, proc: '/nonexistent', sys: '/nonexistent', run: '/nonexistent' };
  return { folder, paths, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

describe('DeviceLink', () => {
  it('points to the block device, and goes with its folder', () => {
    using rig = setup();
    const link = new DeviceLink(rig.paths, 'disk0', '/dev/vda');
    expect(readlinkSync(rig.folder.file('blockgate/disk0'))).toBe('/dev/vda');
    link[Symbol.dispose]();
    expect(readdirSync(rig.folder.path)).toEqual([]);
  });

  it('replaces a link that is left over', () => {
    using rig = setup();
    mkdirSync(rig.folder.file('blockgate'));
    symlinkSync('/dev/vdz', rig.folder.file('blockgate/disk0'));
    symlinkSync('/dev/vdy', rig.folder.file('blockgate/disk0.new'));
    using link = new DeviceLink(rig.paths, 'disk0', '/dev/vda');
    expect(readlinkSync(link.path)).toBe('/dev/vda');
    expect(readdirSync(rig.folder.file('blockgate'))).toEqual(['disk0']);
  });

  it('refuses to replace anything else', () => {
    using rig = setup();
    mkdirSync(rig.folder.file('blockgate'));
    writeFileSync(rig.folder.file('blockgate/disk0'), 'precious');
    expect(() => new DeviceLink(rig.paths, 'disk0', '/dev/vda')).toThrow(
      expect.objectContaining({ code: 'vduse.link-failed' }),
    );
  });

  it('leaves a link alone that somebody else has made meanwhile, and links of other disks', () => {
    using rig = setup();
    const first = new DeviceLink(rig.paths, 'disk0', '/dev/vda');
    using _second = new DeviceLink(rig.paths, 'disk0', '/dev/vdb');
    using _other = new DeviceLink(rig.paths, 'disk1', '/dev/vdc');
    first[Symbol.dispose]();
    expect(readlinkSync(rig.folder.file('blockgate/disk0'))).toBe('/dev/vdb');
    expect(existsSync(rig.folder.file('blockgate'))).toBe(true);
  });
});
