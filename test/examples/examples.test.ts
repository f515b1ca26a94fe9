import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../core/api/device.ts';
import { loadConfig } from '../../core/config/load.ts';
import type { OpenContext } from '../../core/plugin.ts';
import { PluginRegistry } from '../../core/plugins/registry.ts';
import { nativeImport } from '../support/native-import.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');

/** Opens the only disk of an example, as a gateway would. */
async function open(example: string, overrides: readonly string[] = []): Promise<BlockDevice> {
  const config = await loadConfig(join(EXAMPLES, example, 'plugins.json'), { overrides });
  const registry = await PluginRegistry.load(config, { importModule: nativeImport });
  expect(registry.problems).toEqual([]);
  const [disk] = config.disks.values();
  const { backend } = await registry.prepareDisk(disk!);
  return backend.plugin.open(backend.config, { signal: new AbortController().signal } as OpenContext);
}

describe('example 01-constant', () => {
  it('reads the same byte everywhere, and cannot be written', async () => {
    await using device = await open('01-constant');
    const segments = [new Uint8Array(512), new Uint8Array(512)];
    await device.read(4096, segments, 0);
    expect(segments.every((segment) => segment.every((byte) => byte === 42))).toBe(true);
    expect(device.info.size).toBe(64 * 2 ** 20);
    expect(device.write).toBeUndefined();
  });
});

describe('example 02-memory-package', () => {
  it('reads back what was written', async () => {
    await using device = await open('02-memory-package');
    await device.write!(512, [new Uint8Array(256).fill(1), new Uint8Array(256).fill(2)], 0);
    await device.writeZeroes!(512, 128, 0);
    const sector = new Uint8Array(512);
    await device.read(512, [sector], 0);
    expect([sector[0], sector[128], sector[256]]).toEqual([0, 1, 2]);
  });
});

describe('example 03-http-readonly', () => {
  const image = Uint8Array.from({ length: 4096 }, (_, index) => index % 251);
  let etag = '"1"';
  const server = createServer((request, response) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const headers = { etag, 'accept-ranges': 'bytes' };
    if (request.method === 'HEAD')
      response.writeHead(200, { ...headers, 'content-length': image.length }).end();
    else if (!range || request.headers['if-range'] !== etag) response.writeHead(200, headers).end(image);
    else response.writeHead(206, headers).end(image.subarray(Number(range[1]), Number(range[2]) + 1));
  });
  const override = () =>
    `disks.image.backend.url=http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;

  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('reads ranges of the image', async () => {
    await using device = await open('03-http-readonly', [override()]);
    const segments = [new Uint8Array(512), new Uint8Array(1024)];
    await device.read(1024, segments, 0);
    expect(Buffer.concat(segments)).toEqual(Buffer.from(image.subarray(1024, 2560)));
    expect(device.info.size).toBe(4096);
  });

  it('fails rather than mix two images', async () => {
    await using device = await open('03-http-readonly', [override()]);
    etag = '"2"';
    await expect(device.read(0, [new Uint8Array(512)], 0)).rejects.toMatchObject({
      code: 'EIO',
      retriable: false,
    });
  });
});
