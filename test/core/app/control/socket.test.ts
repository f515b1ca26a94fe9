import { spawnSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { GatewayError } from '../../../../core/api/errors.ts';
import { ControlClient } from '../../../../core/app/control/client.ts';
import { decodeResponse, MAX_REQUEST } from '../../../../core/app/control/protocol.ts';
import { type ControlHandler, ControlServer } from '../../../../core/app/control/server.ts';
import { SocketFolder } from '../../../../core/app/control/socket-folder.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

let owned = new DisposableStack();
afterEach(() => {
  owned.dispose();
  owned = new DisposableStack();
});

const status = (...disks: string[]) => ({
  pid: 1,
  uptimeMs: 1,
  config: '/plugins.json',
  disks: disks.map((disk) => ({ disk, state: 'running', restarts: 0 })),
});

/** A folder of state with a gateway in it that answers by `handler`. */
async function serve(handler: ControlHandler, folder = owned.use(tempFolder())) {
  const server = owned.use(await ControlServer.start(new SocketFolder(folder.path), handler));
  const control = join(folder.path, '.control');
  const path = join(control, readdirSync(control).at(-1)!);
  return { folder, server, control, path, client: new ControlClient(folder.path) };
}

/** Sends raw bytes and returns what comes back until the other side ends. */
async function exchange(path: string, bytes: string | Buffer): Promise<string> {
  const socket: Socket = connect(path);
  let text = '';
  socket.on('data', (data) => (text += String(data)));
  socket.on('error', () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

describe('a control socket', () => {
  it('is open to its user alone', async () => {
    const { path, control } = await serve(async () => status());
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(control).mode & 0o777).toBe(0o700);
  });

  it('answers each of many clients', async () => {
    const { client } = await serve(async (request) =>
      request.method === 'resize' ? { size: request.size } : status('disk0'),
    );
    const sizes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => client.ask({ method: 'resize', disk: 'disk0', size: i + 1 })),
    );
    expect(sizes.map(({ size }) => size)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('passes an explanation on', async () => {
    const { client } = await serve(async (request) => {
      if (request.method === 'status') return status('disk0');
      throw new GatewayError('disk.held', 'It is in use.', { why: 'It is.', fix: 'Wait.' });
    });
    const asked = client.ask({ method: 'detach', disk: 'disk0', force: false });
    await expect(asked).rejects.toMatchObject({ code: 'disk.held', why: 'It is.', fix: 'Wait.' });
  });

  it('refuses what is no request', async () => {
    const { path } = await serve(async () => status());
    expect(decodeResponse(await exchange(path, 'hello\n'))).toMatchObject({
      error: { code: 'gateway.bad-request' },
    });
  });

  it('refuses a request that does not end', async () => {
    const { path } = await serve(async () => status());
    expect(decodeResponse(await exchange(path, Buffer.alloc(MAX_REQUEST + 1, 0x20)))).toMatchObject({
      error: { code: 'gateway.bad-request' },
    });
  });

  it('outlives a client that goes away before it has the answer', async () => {
    const answer = Promise.withResolvers<unknown>();
    const asked = Promise.withResolvers<void>();
    let requests = 0;
    const { path, client } = await serve(async () => {
      if (requests++ > 0) return status('disk0');
      asked.resolve();
      return await answer.promise;
    });
    const socket = connect(path);
    socket.write('{"version":1,"request":{"method":"status"}}\n');
    await asked.promise;
    socket.destroy();
    answer.resolve(status());
    expect(await client.status()).toHaveLength(1);
  });

  it('is gone when its gateway ends, and who waits for an answer is told', async () => {
    const asked = Promise.withResolvers<void>();
    const { server, client, control } = await serve(async (request) => {
      if (request.method === 'status') return status('disk0');
      asked.resolve();
      return await new Promise(() => {});
    });
    const upgrade = client.ask({ method: 'upgrade', disk: 'disk0' });
    upgrade.catch(() => {});
    await asked.promise;
    server[Symbol.dispose]();
    await expect(upgrade).rejects.toMatchObject({ code: 'gateway.no-answer' });
    expect(readdirSync(control)).toEqual([]);
  });
});

describe('gateways that share a folder of state', () => {
  it('are all asked, and each about its own disks', async () => {
    const { folder, client } = await serve(async (request) =>
      request.method === 'status' ? status('disk0') : { pausedMs: 1 },
    );
    await serve(async (request) => (request.method === 'status' ? status('disk1') : { pausedMs: 2 }), folder);
    expect((await client.status()).flatMap(({ disks }) => disks.map(({ disk }) => disk)).sort()).toEqual([
      'disk0',
      'disk1',
    ]);
    expect(await client.ask({ method: 'upgrade', disk: 'disk1' })).toEqual({ pausedMs: 2 });
    await expect(client.ask({ method: 'upgrade', disk: 'disk2' })).rejects.toMatchObject({
      code: 'gateway.not-serving',
    });
  });

  it('are none where there never was one', async () => {
    using folder = tempFolder();
    expect(await new ControlClient(folder.path).status()).toEqual([]);
  });

  it('leave no trace when they died', async () => {
    const { folder, control, client } = await serve(async () => status());
    // A process that is killed while it listens.
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(join(control, '1-dead.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    writeFileSync(join(control, 'note'), '');
    expect(readdirSync(control)).toHaveLength(3);
    expect(await client.status()).toHaveLength(1);
    expect(readdirSync(join(folder.path, '.control'))).toEqual(expect.not.arrayContaining(['1-dead.sock']));
  });
});
