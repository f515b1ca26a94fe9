import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/plugin.ts';
import { fromWire, toWire } from '../../../core/util/wire-error.ts';

const throughJson = (error: unknown) => fromWire(JSON.parse(JSON.stringify(toWire(error))));

describe('an error between processes', () => {
  it('keeps code, why, fix, where and cause', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const where = { file: '/etc/plugins.json', pointer: '/disks/a', line: 3, column: 4 };
    const sent = new GatewayError('s3.away', 'The store is away.', {
      why: 'It is.',
      fix: 'Wait.',
      where,
      cause,
    });
    const received = throughJson(sent);
    expect(GatewayError.is(received)).toBe(true);
    expect(received).toMatchObject({
      code: 's3.away',
      message: 'The store is away.',
      why: 'It is.',
      fix: 'Wait.',
      where,
      cause: { message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
    });
    expect(received.stack).toBe(sent.stack);
  });

  it('keeps the parts of an aggregate', () => {
    const received = throughJson(
      new AggregateError([new GatewayError('a.b', 'A.'), new TypeError('B')], 'both'),
    );
    expect(received).toMatchObject({
      message: 'both',
      errors: [{ code: 'a.b' }, { name: 'TypeError', message: 'B' }],
    });
  });

  it('survives a chain of causes that is a circle, and things that are no errors', () => {
    const circle = new Error('round');
    circle.cause = circle;
    expect(throughJson(circle).message).toBe('round');
    expect(throughJson('a string').message).toBe('a string');
  });
});
