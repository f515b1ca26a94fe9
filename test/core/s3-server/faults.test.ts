import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FaultInjector, type FaultPlan } from '../../../core/s3-server/faults.ts';
import { S3Server } from '../../../core/s3-server/server.ts';
import { CheckContext, statuses } from '../../support/s3-conformance/context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const subject = { operation: 'PutObject', method: 'PUT', bucket: 'bucket', key: 'key' } as const;
const draw = (plan: FaultPlan, count: number) => {
  const injector = new FaultInjector(plan);
  return Array.from({ length: count }, () => injector.next(subject));
};

describe('a plan', () => {
  const rates = { errorRate: 0.3, lostResponseRate: 0.2, stallRate: 0.1, latencyMs: [1, 5] } as const;

  it('injects nothing when empty', () => {
    expect(draw({}, 3)).toEqual([undefined, undefined, undefined]);
  });

  it('draws the same faults for the same seed', () => {
    expect(draw({ ...rates, seed: 7 }, 100)).toEqual(draw({ ...rates, seed: 7 }, 100));
    expect(draw({ ...rates, seed: 8 }, 100)).not.toEqual(draw({ ...rates, seed: 7 }, 100));
  });

  it('keeps to its rates', () => {
    const faults = draw({ ...rates, seed: 1 }, 4000);
    const share = (is: (fault: (typeof faults)[number]) => boolean) =>
      faults.filter(is).length / faults.length;
    expect(share((fault) => fault?.error !== undefined)).toBeCloseTo(0.3, 1);
    expect(share((fault) => fault?.error === 'SlowDown')).toBeCloseTo(0.15, 1);
    expect(share((fault) => fault?.loseResponse === true)).toBeCloseTo(0.2, 1);
    expect(share((fault) => (fault?.stallMs ?? 0) > 0)).toBeCloseTo(0.1, 1);
    expect(share((fault) => fault!.delayMs! >= 1 && fault!.delayMs! <= 5)).toBe(1);
  });

  it('draws latencies around a mean, never below 0', () => {
    const delays = draw({ latencyMs: { mean: 10, jitter: 20 } }, 2000).map((fault) => fault?.delayMs ?? 0);
    expect(Math.min(...delays)).toBe(0);
    const positive = delays.filter((delay) => delay > 0);
    expect(positive.length / delays.length).toBeCloseTo(0.69, 1);
  });

  it('spares operations and keys that it does not name', () => {
    const certain = { errorRate: 1 };
    expect(draw({ ...certain, operations: ['GetObject'] }, 1)).toEqual([undefined]);
    expect(draw({ ...certain, keys: /^other/ }, 1)).toEqual([undefined]);
    expect(draw({ ...certain, operations: ['PutObject'], keys: /^key$/ }, 1)[0]?.error).toBeDefined();
  });

  it('lets the hook decide first', () => {
    const plan: FaultPlan = {
      errorRate: 1,
      onRequest: ({ key }) => (key === 'key' ? { dropRequest: true } : undefined),
    };
    expect(draw(plan, 1)).toEqual([{ dropRequest: true }]);
  });
});

describe('a server with faults', () => {
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
  let stack: AsyncDisposableStack;
  let server: S3Server;
  let s3: CheckContext;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    const dataDir = stack.use(tempFolder()).path;
    server = stack.use(await S3Server.start({ dataDir, credentials, fsync: false }));
    s3 = await CheckContext.create({ endpoint: server.endpoint, region: 'us-east-1', ...credentials });
    stack.defer(() => s3.close());
  });
  afterEach(() => stack.disposeAsync());

  it('answers errors without carrying the request out, until they are switched off', async () => {
    server.setFaults({ onRequest: () => ({ error: 'SlowDown' }) });
    expect(await statuses([s3.put('object')])).toEqual([503]);
    server.setFaults({});
    expect(await s3.keys()).toEqual([]);
  });

  it('carries out a request whose response it loses', async () => {
    server.setFaults({
      onRequest: ({ operation }) => (operation === 'PutObject' ? { loseResponse: true } : undefined),
    });
    expect(await statuses([s3.put('object', 'there')])).toEqual([0]);
    expect(await s3.text('object')).toBe('there');
  });

  it('does not carry out a request that it drops', async () => {
    server.setFaults({
      onRequest: ({ operation }) => (operation === 'PutObject' ? { dropRequest: true } : undefined),
    });
    expect(await statuses([s3.put('object')])).toEqual([0]);
    expect(await s3.keys()).toEqual([]);
  });

  it('cuts the body of a GET', async () => {
    await s3.put('object', Buffer.alloc(10_000));
    server.setFaults({ onRequest: () => ({ cutBodyAt: 1000 }) });
    await expect(s3.bytes('object')).rejects.toThrow();
  });

  it('stops at once although a request is delayed for an hour', async () => {
    const arrived = Promise.withResolvers<void>();
    server.setFaults({
      onRequest: () => {
        arrived.resolve();
        return { delayMs: 3_600_000 };
      },
    });
    const waiting = statuses([s3.put('object')]);
    await arrived.promise;
    await server.stop();
    expect(await waiting).toEqual([0]);
  });

  it('logs each request with what became of it', async () => {
    server.requests.clear();
    await s3.put('object', '12345');
    await statuses([s3.text('missing')]);
    expect(server.requests.find({ operation: 'PutObject' })).toEqual([
      expect.objectContaining({
        method: 'PUT',
        bucket: s3.bucket,
        key: 'object',
        status: 200,
        bytesIn: 5,
        bytesOut: 0,
      }),
    ]);
    expect(server.requests.find({ status: 404 })).toEqual([
      expect.objectContaining({
        operation: 'GetObject',
        key: 'missing',
        errorCode: 'NoSuchKey',
        faulted: false,
      }),
    ]);
  });
});
