import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { renderError } from '../../../core/util/render-error.ts';

describe('renderError', () => {
  it('shows what, where, why, fix and code', () => {
    const error = new GatewayError('config.unknown-backend', 'Unknown backend type "s4".', {
      where: { file: 'plugins.json', line: 9, column: 16, pointer: '/disks/disk0/backend/type' },
      why: 'No loaded plugin provides it.',
      fix: 'Did you mean "s3"?',
    });
    expect(renderError(error)).toMatchInlineSnapshot(`
      "✖ Unknown backend type "s4".
        Where  plugins.json:9:16  (/disks/disk0/backend/type)
        Why    No loaded plugin provides it.
        Fix    Did you mean "s3"?
        Code   config.unknown-backend"
    `);
  });

  it('shows only what there is', () => {
    expect(renderError(new GatewayError('disk.gone', 'The disk is gone.'))).toMatchInlineSnapshot(`
      "✖ The disk is gone.
        Code   disk.gone"
    `);
  });

  it('indents further lines below the first', () => {
    expect(renderError(new GatewayError('x.y', 'No.', { why: 'One.\nTwo.' }))).toMatchInlineSnapshot(`
      "✖ No.
        Why    One.
               Two.
        Code   x.y"
    `);
  });

  it('shows the causes that it has not said already', () => {
    const refused = new Error('connect ECONNREFUSED 127.0.0.1:9000');
    const request = new Error('HEAD vm-disks failed', { cause: refused });
    const error = new GatewayError('disk.open-failed', 'Disk "disk0" cannot be opened.', {
      why: 'The store does not answer: HEAD vm-disks failed.',
      cause: request,
    });
    expect(renderError(error)).toMatchInlineSnapshot(`
      "✖ Disk "disk0" cannot be opened.
        Why    The store does not answer: HEAD vm-disks failed.
        Code   disk.open-failed
        Cause  connect ECONNREFUSED 127.0.0.1:9000"
    `);
  });

  it('survives an error that is its own cause', () => {
    const error = new GatewayError('x.y', 'No.');
    Object.assign(error, { cause: error });
    expect(renderError(error)).toBe('✖ No.\n  Code   x.y');
  });

  it('shows each error of an aggregate', () => {
    const error = new AggregateError([new GatewayError('a.b', 'One.'), new GatewayError('c.d', 'Two.')]);
    expect(renderError(error)).toBe('✖ One.\n  Code   a.b\n\n✖ Two.\n  Code   c.d');
  });

  it('asks to report what is not meant for users', () => {
    const text = renderError(new TypeError('x is not a function'));
    expect(text).toContain('✖ Unexpected error: x is not a function');
    expect(text).toContain('report');
    expect(text).toContain('render-error.test.ts');
  });

  it('takes whatever was thrown', () => {
    expect(renderError('a string')).toContain('✖ Unexpected error: a string');
    expect(renderError(undefined)).toContain('✖ Unexpected error: undefined');
  });
});
