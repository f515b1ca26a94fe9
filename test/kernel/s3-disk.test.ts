import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { blockgate } from '../support/host-cli.ts';
import { S3_SERVICES, type S3Service, startS3Service } from '../support/kernel-backends.ts';

/** What only a disk in a bucket has to get right: it is the bucket that counts, and the store comes and goes. */

const MIB = 2 ** 20;
const DEVICE = '/dev/blockgate/disk0';

let guest: Guest;

beforeAll(async () => {
  guest = await Guest.start();
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

describe.each(S3_SERVICES)('a disk in a bucket on %s', (name) => {
  let service: S3Service;
  let volumes = 0;

  beforeAll(async () => {
    service = await startS3Service(name);
  });

  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
  });

  /** A new volume; returns the configuration of a gateway in the guest that serves it. */
  async function createVolume(options: object = {}) {
    const backend = { ...service.backend, prefix: `volume${++volumes}`, size: 64 * MIB, ...options };
    await cli(backend, 'volume', 'create', 'disk0');
    return { backend, config: { disks: { disk0: { backend } } } };
  }

  /** Runs blockgate on the host, which is another machine than the guest, on the same volume. */
  const cliTry = (backend: object, ...args: string[]) =>
    blockgate(
      { disk0: { backend: { ...backend, endpoint: service.hostBackend['endpoint'] } } },
      args,
      service.env,
    );

  async function cli(backend: object, ...args: string[]): Promise<string> {
    const { exitCode, output } = await cliTry(backend, ...args);
    if (exitCode !== 0) throw new Error(`blockgate ${args.join(' ')} ended with ${exitCode}\n${output}`);
    return output;
  }

  let running: GuestGateway | undefined;

  async function serve(config: { disks: object }, options: object = {}): Promise<GuestGateway> {
    running = await guest.startGateway(config, { env: service.env, ...options });
    return running;
  }

  // A test that failed half-way must not fail those after it.
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  // Of the two, the one that a kill leaves in the middle of something.
  if (name === S3_SERVICES[1])
    it('gives the guest no error and no wrong byte when the store is away for 20 s', async () => {
      const { config } = await createVolume();
      const gateway = await serve(config);
      const seed = Math.floor(Math.random() * 2 ** 31);
      const restored = '/run/store-is-back';
      const fio = guest.sh(fioVerifyUntil(restored, DEVICE, { depth: 32, direct: true }, seed), {
        timeoutMs: 600_000,
      });
      // Whatever happens to the outage below, fio's own failure is the one to report.
      fio.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 8_000));
      await service.down();
      await new Promise((resolve) => setTimeout(resolve, 20_000));
      await service.up();
      await guest.sh(`touch ${restored}`);
      await fio;
      await gateway.stop();
      const log = await gateway.log();
      expect(log).toContain('the store does not answer');
      expect(log).toContain('the store answers again');
    });

  it('tells wrong credentials, bucket, size and format version apart', async () => {
    const { backend } = await createVolume();
    const codeOf = async (change: object, env = service.env) => {
      const reached = { ...backend, endpoint: service.hostBackend['endpoint'], ...change };
      const { exitCode, output } = await blockgate({ disk0: { backend: reached } }, ['run'], env);
      expect(exitCode).not.toBe(0);
      return /Code\s+(\S+)/.exec(output)?.[1] ?? output;
    };
    expect(await codeOf({}, { TEST_S3_SECRET: 'wrong' })).toBe('s3.bad-credentials');
    expect(await codeOf({ bucket: 'nowhere' })).toBe('s3.bucket-not-found');
    expect(await codeOf({ prefix: 'nothing' })).toBe('volume.not-found');
    expect(await codeOf({ size: 32 * MIB })).toBe('volume.size-mismatch');
    const key = `${String(backend.prefix)}/volume.json`;
    await service.client.send(
      new PutObjectCommand({
        Bucket: service.bucket,
        Key: key,
        Body: '{"format":"blockgate-chunk","version":99}',
      }),
    );
    expect(await codeOf({})).toBe('volume.unsupported-version');
  });

  // Nothing of it depends on the store.
  if (name === S3_SERVICES[0]) {
    it('has what was flushed after a kill, and fails rather than go on without what was not', async () => {
      const { config } = await createVolume();
      const gateway = await serve(config);
      await guest.sh('dd if=/dev/urandom of=/tmp/flushed bs=64k count=4 status=none');
      const write = `dd if=/tmp/flushed of=${DEVICE} bs=64k oflag=direct status=none`;
      const kill = 'kill -KILL $(pgrep -f disk-process)';
      await guest.sh(`${write} conv=fsync; ${kill}`);
      // Waits for the process that is started in its place, and finds everything.
      const read = `dd if=${DEVICE} of=/tmp/found bs=64k count=4 iflag=direct`;
      const compare = `${read}; cmp /tmp/flushed /tmp/found`;
      await guest.sh(compare);
      await guest.sh(`${write}; ${kill}`);
      expect((await guest.try(read)).stderr).toContain('Input/output error');
      expect(await gateway.log()).toContain('were lost');
      await gateway.stop();
      const anew = await serve(config);
      await guest.sh(compare);
      await anew.stop();
    });
  }
});
