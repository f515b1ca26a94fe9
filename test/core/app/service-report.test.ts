import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Gateway } from '../../../core/app/gateway.ts';
import type { GatewayEvent, GatewayObserver } from '../../../core/app/gateway-events.ts';
import { ServiceReport } from '../../../core/app/service-report.ts';
import type { ServiceManager } from '../../../core/app/systemd.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function report(watchdogMs?: number) {
  const said: string[] = [];
  const manager = {
    watchdogMs,
    ready: () => said.push('ready'),
    alive: () => said.push('alive'),
    stopping: () => said.push('stopping'),
    status: (text: string) => said.push(text),
    needsAnother: (ms: number) => said.push(`another ${ms}`),
    [Symbol.dispose]: () => said.push('end'),
  } as unknown as ServiceManager;
  let emit: GatewayObserver = () => {};
  const gateway = Object.assign(Object.create(Gateway.prototype) as Gateway, {
    observe: (observer: GatewayObserver) => {
      emit = observer;
      return { [Symbol.dispose]: () => {} };
    },
  });
  const service = new ServiceReport(manager, gateway);
  return {
    said,
    service,
    happen: (type: string, disk: string, more = {}) => emit({ type, disk, ...more } as GatewayEvent),
  };
}

describe('ServiceReport', () => {
  it('says in a line what every disk is doing', () => {
    const { said, service, happen } = report();
    happen('ready', 'disk0');
    happen('ready', 'disk1');
    happen('died', 'disk1');
    happen('restarting', 'disk1');
    happen('held', 'disk0', { holders: [{ kind: 'mount', description: 'mounted at /srv' }] });
    happen('stopping', 'disk0');
    happen('stopped', 'disk0');
    happen('stop-failed', 'disk1');
    service[Symbol.dispose]();
    expect(said).toEqual([
      'Starting the disks',
      'serving disk0',
      'serving disk0, disk1',
      'serving disk0; down: disk1',
      'serving disk0; restarting disk1',
      'waiting, mounted at /srv: disk0; restarting disk1',
      'stopping disk0; restarting disk1',
      'restarting disk1',
      'not stopped cleanly: disk1',
      'end',
    ]);
  });

  it('gives a sign of life twice within the time limit, while the event loop turns', () => {
    const { said, service } = report(10_000);
    vi.advanceTimersByTime(20_000);
    expect(said.filter((text) => text === 'alive')).toHaveLength(4);
    service[Symbol.dispose]();
    vi.advanceTimersByTime(20_000);
    expect(said.filter((text) => text === 'alive')).toHaveLength(4);
  });

  it('gives none where nobody waits for one', () => {
    const { said, service } = report();
    vi.advanceTimersByTime(1_000_000);
    expect(said).toEqual(['Starting the disks']);
    service[Symbol.dispose]();
  });

  it('asks for more time for as long as stopping takes', () => {
    const { said, service } = report();
    service.stopping();
    service.stopping();
    vi.advanceTimersByTime(10_000);
    service[Symbol.dispose]();
    vi.advanceTimersByTime(10_000);
    expect(said.slice(1)).toEqual(['stopping', 'another 20000', 'another 20000', 'another 20000', 'end']);
  });

  it('does not ask for ever', () => {
    const { said, service } = report();
    service.stopping();
    vi.advanceTimersByTime(3_600_000);
    expect(said.filter((text) => text.startsWith('another'))).toHaveLength(120);
    service[Symbol.dispose]();
  });
});
