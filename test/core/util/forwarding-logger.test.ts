import { describe, expect, it } from 'vitest';

import { isLogged } from '../../../core/observe/log-level.ts';
import { ForwardingLogger } from '../../../core/util/forwarding-logger.ts';
import { Secret } from '../../../core/util/secret.ts';

describe('a logger that forwards its lines', () => {
  function logger(threshold: 'warn' | 'debug') {
    const sent: { level: string; message: string; fields: Record<string, unknown> }[] = [];
    return {
      sent,
      log: new ForwardingLogger(
        (line) => sent.push(line),
        (level) => isLogged(level, threshold),
      ),
    };
  }

  it('leaves out what is above its level', () => {
    const { sent, log } = logger('warn');
    log.info('nothing to see');
    log.error('act');
    expect(sent.map(({ message }) => message)).toEqual(['act']);
  });

  it('carries errors, big numbers and the fields of its parents, but no secret', () => {
    const { sent, log } = logger('debug');
    log
      .child({ disk: 'a' })
      .warn('careful', { error: new Error('boom'), count: 2n ** 60n, key: new Secret('hush') });
    expect(sent[0]!.fields).toMatchObject({
      disk: 'a',
      error: { message: 'boom' },
      count: '1152921504606846976',
      key: '[secret]',
    });
  });

  it('survives fields that cannot be printed', () => {
    const { sent, log } = logger('debug');
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    log.warn('careful', { circle });
    expect(sent[0]!.fields['fields']).toContain('not printable');
  });
});
