import { truncateSync, writeFileSync } from 'node:fs';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { beforeAll, describe, it } from 'vitest';
import { s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import { testBackend } from '../../core/testkit.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { context, pattern } from '../backends/s3/harness.ts';
import { NbdServerProcess } from '../support/nbd-servers.ts';
import { startS3 } from '../support/s3.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** The backends that need a server are put through what every backend is; redis has this beside its other tests. */

const runner = { describe, it };
const entry = (path: string) => new URL(`../../backends/${path}/index.ts`, import.meta.url);

beforeAll(async () => {
  await ensureDebianPackages(['nbdkit', 'qemu-utils'], (line) => process.stderr.write(`${line}\n`));
});

const SERVERS: Readonly<Record<string, (socket: string, image: string) => string[]>> = {
  nbdkit: (socket, image) => [
    'nbdkit',
    '--foreground',
    '--unix',
    socket,
    '--exit-with-parent',
    'file',
    image,
  ],
  'qemu-nbd': (socket, image) => [
    ...['qemu-nbd', '--persistent', '--shared=8', '--discard', 'unmap', '--format', 'raw'],
    ...['--socket', socket, image],
  ],
};

for (const [name, command] of Object.entries(SERVERS))
  testBackend({
    title: `nbd on ${name}`,
    entry: entry('nbd'),
    level: 'L2',
    runner,
    async setup() {
      const folder = tempFolder();
      const [socket, image] = [folder.file('socket'), folder.file('image')];
      writeFileSync(image, '');
      truncateSync(image, 16 * 2 ** 20);
      const server = await NbdServerProcess.start(command(socket, image), socket);
      return {
        config: { uri: `nbd+unix:///?socket=${socket}`, connections: 4 },
        break: () => server.kill9(),
        mend: () => server.start(),
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]();
          folder[Symbol.dispose]();
        },
      };
    },
  });

const S3_VOLUMES: Readonly<Record<string, Record<string, unknown>>> = {
  'layout log': { layout: 'log' },
  'layout log, compressed and encrypted': {
    layout: 'log',
    compression: 'zstd',
    encryption: { keyCommand: ['printf', 'a key of 32 bytes, for this test'] },
  },
  'layout chunk': { layout: 'chunk', chunkSize: '64KiB' },
};

testBackend({
  title: 's3, layout image',
  entry: entry('s3'),
  level: 'L0',
  runner,
  async setup() {
    const server = await startS3('the embedded server');
    const [Bucket, Key] = [server.bucket, 'images/disk.raw'];
    const Body = pattern(5 * 2 ** 20 + 512, 7);
    await server.client.send(new PutObjectCommand({ Bucket, Key, Body }));
    return {
      config: { ...server.backend, layout: 'image', key: Key },
      readOnly: true,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
});

for (const [title, options] of Object.entries(S3_VOLUMES))
  testBackend({
    title: `s3, ${title}`,
    entry: entry('s3'),
    level: 'L2',
    runner,
    async setup() {
      const server = await startS3('the embedded server');
      const config = { ...server.backend, prefix: 'volume', size: '8MiB', ...options };
      await s3.volumes!.create(s3Config.parse(config), context({ baseDir: '/' }));
      return {
        config,
        break: () => server.stop(),
        mend: () => server.start(),
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  });
