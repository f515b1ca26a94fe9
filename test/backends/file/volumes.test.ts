import { existsSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileConfig } from '../../../backends/file/config.ts';
import file from '../../../backends/file/index.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;
const volumes = file.volumes!;
const noProgress = () => {};

function setup(config: object = { size: MIB }) {
  const folder = tempFolder();
  return {
    path: folder.file('disk.img'),
    config: fileConfig.parse({ path: 'disk.img', ...config }),
    ctx: openContext(folder.path),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

describe('volumes of the file backend', () => {
  it('creates, describes and lists the file', async () => {
    using rig = setup();
    const info = { name: rig.path, size: MIB, used: 0, details: { kind: 'file' } };
    expect(await volumes.create(rig.config, rig.ctx)).toEqual(info);
    expect(await volumes.info(rig.config, rig.ctx)).toEqual(info);
    expect(await volumes.list(rig.config, rig.ctx)).toEqual([info]);
  });

  it('does not create over what is there', async () => {
    using rig = setup();
    writeFileSync(rig.path, 'precious');
    await expect(volumes.create(rig.config, rig.ctx)).rejects.toMatchObject({
      code: 'volume.exists',
      message: `${rig.path} exists already.`,
    });
    expect(statSync(rig.path).size).toBe(8);
  });

  it('says who has the file open for writing', async () => {
    using rig = setup();
    await using _device = await file.open(rig.config, rig.ctx);
    expect(await volumes.info(rig.config, rig.ctx)).toMatchObject({
      owner: expect.stringContaining(`process ${process.pid} (`),
    });
  });

  it('grows, and keeps the content', async () => {
    using rig = setup({});
    writeFileSync(rig.path, new Uint8Array(MIB).fill(3));
    expect(await volumes.resize(rig.config, 2 * MIB, rig.ctx)).toMatchObject({ size: 2 * MIB, used: MIB });
    await using device = await file.open(rig.config, rig.ctx);
    const ends = new Uint8Array(1024);
    await device.read(MIB - 512, [ends], 0);
    expect([device.info.size, ends[511], ends[512]]).toEqual([2 * MIB, 3, 0]);
  });

  it('does not shrink', async () => {
    using rig = setup();
    await volumes.create(rig.config, rig.ctx);
    await expect(volumes.resize(rig.config, MIB / 2, rig.ctx)).rejects.toMatchObject({
      code: 'volume.cannot-shrink',
      message: `${rig.path} cannot shrink from 1048576 to 524288 bytes.`,
    });
    expect(statSync(rig.path).size).toBe(MIB);
  });

  it('does not resize to a part of a block', async () => {
    using rig = setup();
    await volumes.create(rig.config, rig.ctx);
    await expect(volumes.resize(rig.config, MIB + 1, rig.ctx)).rejects.toMatchObject({
      code: 'file.size-unaligned',
    });
  });

  it('deletes, and a second time finds it done', async () => {
    using rig = setup();
    await volumes.create(rig.config, rig.ctx);
    for (let i = 0; i < 2; i++) {
      await volumes.delete(rig.config, { force: false, progress: noProgress }, rig.ctx);
      expect(existsSync(rig.path)).toBe(false);
    }
  });

  it('deletes and resizes nothing that is in use, unless forced to delete', async () => {
    using rig = setup();
    await using _device = await file.open(rig.config, rig.ctx);
    const refusal = { code: 'volume.in-use' };
    await expect(volumes.resize(rig.config, 2 * MIB, rig.ctx)).rejects.toMatchObject(refusal);
    const remove = (force: boolean) => volumes.delete(rig.config, { force, progress: noProgress }, rig.ctx);
    await expect(remove(false)).rejects.toMatchObject(refusal);
    expect(existsSync(rig.path)).toBe(true);
    await remove(true);
    expect(existsSync(rig.path)).toBe(false);
  });

  it.each(['info', 'list'] as const)('%s of a missing file says how to create it', async (operation) => {
    using rig = setup();
    await expect(volumes[operation](rig.config, rig.ctx)).rejects.toMatchObject({
      code: 'file.not-found',
      message: `${rig.path} does not exist.`,
      fix: 'Create it with "blockgate volume create", or correct "path".',
    });
  });
});
