import { describe, expect, it } from 'vitest';
import { servingUser } from '../../../core/app/machine-check.ts';

describe('the user for --user', () => {
  it('is fine when it exists', () => {
    expect(servingUser('root')).toMatchObject({ severity: 'ok' });
  });

  it('is missed with the way to create it when it does not', () => {
    expect(servingUser('nobody-has-this-name')).toMatchObject({
      severity: 'warning',
      fix: expect.stringContaining('systemd-sysusers'),
    });
  });
});
