import { describe, expect, it } from 'vitest';
import { isLogged } from '../../../core/observe/log-level.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import { Secret } from '../../../core/util/secret.ts';

function logger(format: 'json' | 'text', level: 'info' | 'debug' | 'silent' = 'info') {
  const lines: string[] = [];
  return { lines, log: createLogger({ level, format, write: (line) => lines.push(line) }) };
}

describe('the log', () => {
  it('is one JSON object a line, with level, time and fields', () => {
    const { lines, log } = logger('json');
    log.child({ disk: 'disk0' }).info('attached', { size: 4096 });
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: 'info',
      disk: 'disk0',
      msg: 'attached',
      size: 4096,
    });
  });

  it('is a compact line for a person', () => {
    const { lines, log } = logger('text');
    log.child({ disk: 'disk0' }).warn('retrying', { try: 2, url: 'http://a b', error: new Error('refused') });
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d warn {2}disk0: retrying try=2 url="http:\/\/a b" error="refused"\n$/,
    );
  });

  it('leaves out what is above its level', () => {
    const { lines, log } = logger('json');
    log.debug('detail');
    logger('json', 'silent').log.error('unheard');
    expect(lines).toEqual([]);
  });

  it.each(['json', 'text'] as const)('never prints a secret as %s', (format) => {
    const { lines, log } = logger(format);
    log.info('configured', { key: new Secret('hush'), nested: { key: new Secret('hush') } });
    expect(lines[0]).toContain('[secret]');
    expect(lines[0]).not.toContain('hush');
  });
});

describe('a log level', () => {
  it('includes those before it', () => {
    expect(isLogged('error', 'warn')).toBe(true);
    expect(isLogged('warn', 'warn')).toBe(true);
    expect(isLogged('info', 'warn')).toBe(false);
    expect(isLogged('error', 'silent')).toBe(false);
  });
});
