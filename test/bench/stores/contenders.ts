import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { nbdConfig } from '../../../backends/nbd/config.ts';
import nbd from '../../../backends/nbd/index.ts';
import { redisConfig } from '../../../backends/redis/config.ts';
import redis from '../../../backends/redis/index.ts';
import { NbdServerProcess } from '../../support/nbd-servers.ts';
import { openContext } from '../../support/plugin-context.ts';
import { RedisServer } from '../../support/redis-servers.ts';
import type { tempFolder } from '../../support/temp-folder.ts';
import { fioCommand, parseFio } from '../fio.ts';
import { AREA, drive } from './drive.ts';
import type { StoreJob } from './jobs.ts';

const run = promisify(execFile);

/** Two clients of one server. Both give requests per second. */
export interface Contest extends AsyncDisposable {
  readonly peer: string;
  ours(job: StoreJob, seconds: number): Promise<number>;
  theirs(job: StoreJob, seconds: number): Promise<number>;
}

type Folder = ReturnType<typeof tempFolder>;

/** Our backend and fio's engine of libnbd, on nbdkit's memory plugin over a Unix socket. */
export async function nbdContest(folder: Folder): Promise<Contest> {
  await using owned = new AsyncDisposableStack();
  const socket = folder.file('nbd.sock');
  const command = ['nbdkit', '--foreground', '--unix', socket, '--exit-with-parent', 'memory', '1G'];
  owned.use(await NbdServerProcess.start(command, socket));
  const uri = `nbd+unix:///?socket=${socket}`;
  const device = owned.use(await nbd.open(nbdConfig.parse({ uri }), openContext(folder.path)));
  const stack = owned.move();
  return {
    peer: 'fio, ioengine=nbd',
    ours: (job, seconds) => drive(device, job, seconds),
    async theirs(job, seconds) {
      const fio = fioCommand({ ...job, rw: job.rw, target: 0 }, uri, { seconds });
      const script = fio
        .replace('--ioengine=libaio --direct=1', `--ioengine=nbd --size=${AREA}`)
        .replace(`--filename=${uri}`, `--uri='${uri}'`);
      const { stdout } = await run('sh', ['-c', script]);
      // The engine says that it is connected.
      return parseFio(stdout.slice(stdout.indexOf('{'))).iops;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const SCRIPTED_WRITE = ['EVAL', "redis.call('SETRANGE', KEYS[1], 0, ARGV[1]) return 1", '1'];

/** Our backend and redis-benchmark with the same commands, on a server that keeps nothing, over a Unix socket. */
export async function redisContest(folder: Folder): Promise<Contest> {
  await using owned = new AsyncDisposableStack();
  const socket = folder.file('redis.sock');
  owned.use(await RedisServer.start(folder.file('redis'), [`unixsocket ${socket}`]));
  const config = redisConfig.parse({
    socket,
    volume: 'bench',
    size: AREA,
    durability: 'memory',
    window: '256MiB',
  });
  const device = owned.use(await redis.open(config, openContext(folder.path)));
  for (let at = 0; at < AREA; at += 2 ** 20) await device.write!(at, [new Uint8Array(2 ** 20)], 0);
  await device.flush!(0);
  const stack = owned.move();
  return {
    peer: 'redis-benchmark -P',
    ours: (job, seconds) => drive(device, job, seconds),
    async theirs({ rw, blockSize, depth, script }, seconds) {
      const key = 'peer:__rand_int__';
      const request =
        rw === 'randread'
          ? ['GETRANGE', key, '0', String(blockSize - 1)]
          : [
              ...(script ? SCRIPTED_WRITE : ['SETRANGE']),
              key,
              ...(script ? [] : ['0']),
              'x'.repeat(blockSize),
            ];
      const one = async (requests: number): Promise<number> => {
        const shape = ['-s', socket, '-c', '1', '-P', String(depth), '-n', String(requests), '-r', '1000'];
        const { stdout } = await run('redis-benchmark', [...shape, '--csv', ...request], {
          maxBuffer: 2 ** 26,
        });
        // The name is the command, which may hold anything: after it come seven numbers.
        const rps = /"([\d.]+)"(?:,"[\d.]+"){6}\s*$/.exec(stdout)?.[1];
        if (rps === undefined) throw new Error(`unexpected output of redis-benchmark:\n${stdout}`);
        return Number(rps);
      };
      // What it reads has to be there, in chunks as large as ours.
      if (rw === 'randread')
        await run('redis-benchmark', [
          ...['-s', socket, '-c', '1', '-P', '16', '-n', '20000', '-r', '1000', '--csv'],
          ...['SETRANGE', key, String(65536 - 1), 'x'],
        ]);
      return await one(Math.ceil((await one(5000)) * seconds));
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
