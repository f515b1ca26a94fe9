import { once } from 'node:events';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { S3Server, type S3ServerOptions } from '../../../core/s3-server/server.ts';
import { CheckContext, statuses } from '../../support/s3-conformance/context.ts';
import { RawClient } from '../../support/s3-conformance/raw-client.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
let stack: AsyncDisposableStack;
let dataDir: string;

beforeEach(() => {
  stack = new AsyncDisposableStack();
  dataDir = stack.use(tempFolder()).path;
});
afterEach(() => stack.disposeAsync());

async function start(options: Partial<S3ServerOptions> = {}): Promise<S3Server> {
  return stack.use(await S3Server.start({ dataDir, credentials, fsync: false, ...options }));
}

async function bucketOn(server: S3Server): Promise<CheckContext> {
  return stack.adopt(
    await CheckContext.create({ endpoint: server.endpoint, region: 'us-east-1', ...credentials }),
    (s3) => s3.close(),
  );
}

/** Sends bytes as they are and returns what comes back until the server closes or `enough` matches. */
async function exchange(server: S3Server, text: string, enough = /$^/): Promise<string> {
  const socket = connect(server.port, '127.0.0.1');
  let answer = '';
  const done = new Promise<void>((resolve, reject) => {
    socket.on('data', (data) => {
      answer += data.toString('latin1');
      if (enough.test(answer)) resolve();
    });
    socket.once('close', () => resolve()).once('error', reject);
  });
  socket.write(text);
  await done;
  socket.destroy();
  return answer;
}

describe('starting', () => {
  it('refuses a data folder that another server uses, and says which process', async () => {
    await start();
    const refused = S3Server.start({ dataDir, credentials });
    await expect(refused).rejects.toMatchObject({
      code: 's3-server.data-in-use',
      message: `Another S3 server is using the data folder ${dataDir}.`,
      why: `Process ${process.pid} holds it, and two servers on one folder would overwrite each other's objects.`,
    });
  });

  it('takes a data folder over once its server is gone', async () => {
    const first = await start();
    await (await bucketOn(first)).put('object', 'kept');
    await first[Symbol.asyncDispose]();
    const second = await start();
    const response = await fetch(second.endpoint);
    await response.arrayBuffer();
    expect(response.status).toBe(403);
  });

  it('refuses a folder that holds something else', async () => {
    await writeFile(`${dataDir}/thesis.tex`, '');
    await expect(start()).rejects.toMatchObject({ code: 's3-server.not-a-data-folder' });
  });

  it('refuses a folder of another format', async () => {
    await writeFile(`${dataDir}/blockgate-s3-server`, 'format 2\n');
    await expect(start()).rejects.toMatchObject({ code: 's3-server.unknown-format' });
  });

  it('says so when the port is taken, and gives the folder back', async () => {
    const { port } = await start();
    using other = tempFolder();
    const refused = await S3Server.start({ dataDir: other.path, credentials, port }).catch(
      (error: unknown) => error,
    );
    expect(GatewayError.is(refused) && refused.code).toBe('s3-server.listen-failed');
    await using again = await S3Server.start({ dataDir: other.path, credentials });
    expect(again.port).toBeGreaterThan(0);
  });

  it('leaves a damaged object file out, and says which', async () => {
    const first = await start();
    const s3 = await bucketOn(first);
    await s3.put('good');
    await s3.put('damaged');
    await first[Symbol.asyncDispose]();
    const path = `${dataDir}/buckets/${s3.bucket}/objects/damaged`;
    await truncate(path, 30);
    const warnings: unknown[] = [];
    const ignore = () => {};
    const logger = {
      error: ignore,
      warn: (message: string, fields: unknown) => warnings.push([message, fields]),
      info: ignore,
      debug: ignore,
      child: () => logger,
    };
    const second = await start({ logger });
    const again = stack.adopt(
      new CheckContext({ endpoint: second.endpoint, region: 'us-east-1', ...credentials }, s3.bucket),
      (context) => context.close(),
    );
    expect(await again.keys()).toEqual(['good']);
    expect(warnings).toEqual([['object file is damaged, leaving it out', { path }]]);
  });
});

describe('stopping', () => {
  it('refuses connections when stopped, and serves the same objects on the same port when started', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    await s3.put('object', 'kept');
    const { endpoint } = server;
    await server.stop();
    expect(await statuses([s3.text('object')])).toEqual([0]);
    await server.start();
    expect(server.endpoint).toBe(endpoint);
    expect(await s3.text('object')).toBe('kept');
  });

  it('holds requests while paused', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    await s3.put('object', 'kept');
    server.requests.clear();
    server.pause();
    const held = s3.text('object');
    expect(server.requests.find()).toEqual([]);
    server.resume();
    expect(await held).toBe('kept');
  });

  it('ends although a client keeps a connection open', async () => {
    const server = await start();
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    socket.resume();
    await server[Symbol.asyncDispose]();
    await closed;
  });

  it('ends although a client went away before its answer began', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    await s3.put('large', new Uint8Array(8 * 2 ** 20));
    const raw = stack.use(new RawClient({ endpoint: server.endpoint, region: 'us-east-1', ...credentials }));
    const url = new URL(raw.presign('GET', `/${s3.bucket}/large`));
    server.setFaults({ stallRate: 1, stallMs: 100, seed: 1 });
    const socket = connect(server.port, '127.0.0.1');
    socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 150));
    await server.stop();
  });
});

describe('connections', () => {
  it('closes one on which nothing moves, and stores nothing of its body', async () => {
    const patient = await start();
    const { bucket } = await bucketOn(patient);
    await patient[Symbol.asyncDispose]();
    const server = await start({ idleTimeoutMs: 50 });
    const raw = stack.use(new RawClient({ endpoint: server.endpoint, region: 'us-east-1', ...credentials }));
    const url = new URL(raw.presign('PUT', `/${bucket}/slow`));
    const head = `PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 100\r\n\r\nonly this`;
    expect(await exchange(server, head)).toBe('');
    await server.stop();
    expect(await readdir(`${dataDir}/buckets/${bucket}/objects`)).toEqual([]);
  });

  it('tells a client that waits for 100 Continue to go on', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    const url = new URL(s3.raw.presign('PUT', `/${s3.bucket}/object`));
    const head = `PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`;
    expect(await exchange(server, head, /100 Continue\r\n\r\n/)).toMatch(/^HTTP\/1\.1 100 Continue/);
  });

  it('refuses a body that nobody may send before it is sent', async () => {
    const server = await start();
    const head =
      'PUT /bucket/object HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n';
    expect(await exchange(server, head, /<\/Error>/)).toMatch(/^HTTP\/1\.1 403 Forbidden/);
  });

  it('goes on with the next request after refusing the body of one', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    const big = Buffer.alloc(300_000);
    const refused = await s3.raw.send({ method: 'PUT', path: `/${s3.bucket}-not/object`, body: big });
    expect(refused).toMatchObject({ status: 404, code: 'NoSuchBucket' });
    expect((await s3.raw.send({ method: 'PUT', path: `/${s3.bucket}/object`, body: big })).status).toBe(200);
  });

  it('finds the bucket in the host name bucket.localhost', async () => {
    const server = await start();
    const s3 = await bucketOn(server);
    await s3.put('object', 'found by host');
    const { host } = new URL(server.endpoint);
    const virtual = await s3.raw.send({
      method: 'GET',
      path: '/object',
      host: host.replace('127.0.0.1', `${s3.bucket}.localhost`),
    });
    expect(virtual.body.toString()).toBe('found by host');
  });
});

describe('TLS', () => {
  it('serves HTTPS with the certificate it was given', async () => {
    const fixture = (name: string) => readFile(new URL(`../../fixtures/tls/${name}`, import.meta.url));
    const [key, cert] = await Promise.all([fixture('localhost.key'), fixture('localhost.crt')]);
    const server = await start({ tls: { key, cert } });
    const client = get(server.endpoint, { ca: cert });
    const [incoming] = (await once(client, 'response')) as [IncomingMessage];
    incoming.resume();
    await once(incoming, 'end');
    expect([server.endpoint.slice(0, 8), incoming.statusCode]).toEqual(['https://', 403]);
  });
});

it('leaves no temporary file of a refused or an accepted body', async () => {
  const s3 = await bucketOn(await start());
  await s3.put('object', 'x');
  expect(await statuses([s3.put('object', 'y', { IfNoneMatch: '*' })])).toEqual([412]);
  expect(await statuses([s3.put('object', 'y', { ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' })])).toEqual([400]);
  expect(await readdir(`${dataDir}/tmp`)).toEqual([]);
});

describe('limits', () => {
  it('refuses one object more than it is configured for, and goes on after a deletion', async () => {
    const server = await start({ maxObjects: 2 });
    const s3 = await bucketOn(server);
    await s3.put('a');
    await s3.put('b');
    expect(await statuses([s3.put('c')])).toEqual([507]);
    await s3.put('b', 'overwrites need no room');
    await s3.raw.send({ method: 'DELETE', path: `/${s3.bucket}/a` });
    await s3.put('c');
    expect(await s3.keys()).toEqual(['b', 'c']);
  });
});

it('refuses an override of a response header that would split the response', async () => {
  const s3 = await bucketOn(await start());
  await s3.put('object');
  const query = { 'response-content-type': 'text/plain\r\nset-cookie: a=b' };
  const response = await s3.raw.send({ method: 'GET', path: `/${s3.bucket}/object`, query });
  expect(response).toMatchObject({ status: 400, code: 'InvalidArgument' });
});

describe('what it does not implement', () => {
  it.each([
    ['GET', '', { acl: '' }, {}],
    ['GET', '', { policy: '' }, {}],
    ['PUT', '', { lifecycle: '' }, {}],
    ['GET', '/object', { tagging: '' }, {}],
    ['GET', '/object', { versionId: 'abc' }, {}],
    ['GET', '/object', { partNumber: '1' }, {}],
    ['PUT', '/object', {}, { 'x-amz-server-side-encryption': 'AES256' }],
    ['PUT', '/object', {}, { 'x-amz-tagging': 'a=b' }],
    ['PUT', '/object', {}, { 'x-amz-object-lock-mode': 'GOVERNANCE' }],
  ])('says NotImplemented to %s %s %o %o', async (method, path, query, headers) => {
    const s3 = await bucketOn(await start());
    const response = await s3.raw.send({
      method,
      path: `/${s3.bucket}${path}`,
      query,
      headers: { ...headers },
    });
    expect(response).toMatchObject({ status: 501, code: 'NotImplemented' });
  });
});
