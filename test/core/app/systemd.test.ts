import { describe, expect, it } from 'vitest';
import { ServiceManager } from '../../../core/app/systemd.ts';
import { DatagramReceiver } from '../../support/datagram-receiver.ts';
import { tempFolder } from '../../support/temp-folder.ts';

describe('ServiceManager', () => {
  it('speaks the protocol of sd_notify', () => {
    using folder = tempFolder();
    using receiver = new DatagramReceiver(folder.file('notify'));
    using manager = ServiceManager.of({ NOTIFY_SOCKET: folder.file('notify') })!;
    manager.ready();
    manager.alive();
    manager.status('two\nlines');
    manager.needsAnother(1500.2);
    manager.stopping();
    expect(receiver.receive()).toEqual([
      'READY=1',
      'WATCHDOG=1',
      'STATUS=two lines',
      'EXTEND_TIMEOUT_USEC=1501000',
      'STOPPING=1',
    ]);
  });

  it.each([{}, { NOTIFY_SOCKET: '' }, { NOTIFY_SOCKET: 'vsock:2:1234' }, { NOTIFY_SOCKET: '@' }])(
    'is not there for %j',
    (env) => {
      expect(ServiceManager.of(env)).toBeUndefined();
    },
  );

  it('keeps its variables from programs that are started later, and no others', () => {
    const env = { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '1', WATCHDOG_PID: '1', PATH: '/bin' };
    ServiceManager.of(env)?.[Symbol.dispose]();
    expect(env).toEqual({ PATH: '/bin' });
  });

  it.each([
    [{}, undefined],
    [{ WATCHDOG_USEC: '30000000' }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }, undefined],
    [{ WATCHDOG_USEC: 'soon' }, undefined],
    [{ WATCHDOG_USEC: '0' }, undefined],
  ])('takes %j for a watchdog of %s ms', (env, expected) => {
    using manager = ServiceManager.of({ NOTIFY_SOCKET: '/nowhere', ...env })!;
    expect(manager.watchdogMs).toBe(expected);
  });

  it('does not mind when nobody listens any more', () => {
    using manager = ServiceManager.of({ NOTIFY_SOCKET: '/nowhere/at/all' })!;
    manager.ready();
  });
});
