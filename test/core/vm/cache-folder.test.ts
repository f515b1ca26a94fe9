import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cachedFile, contentKey, vmCacheFolder } from '../../../core/vm/cache-folder.ts';

describe('contentKey', () => {
  it('depends on content, order and boundaries', () => {
    const keys = [contentKey(['ab', 'c']), contentKey(['a', 'bc']), contentKey(['c', 'ab'])];
    expect(new Set(keys).size).toBe(3);
    expect(contentKey([Buffer.from('ab'), 'c'])).toBe(keys[0]);
  });
});

describe('vmCacheFolder', () => {
  it('follows XDG_CACHE_HOME', () => {
    expect(vmCacheFolder({ XDG_CACHE_HOME: '/c' })).toBe('/c/blockgate/vm');
  });
});

describe('cachedFile', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'blockgate-test-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('builds a file once', async () => {
    let built = 0;
    const path = join(folder, 'sub', 'image');
    const build = async (): Promise<Uint8Array> => Buffer.from(`build ${++built}`);
    await cachedFile(path, build);
    await cachedFile(path, build);
    expect(await readFile(path, 'utf8')).toBe('build 1');
    expect(await readdir(join(folder, 'sub'))).toEqual(['image']);
  });

  it('keeps nothing of a build that failed', async () => {
    const path = join(folder, 'image');
    await expect(cachedFile(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await readdir(folder)).toEqual([]);
  });
});
