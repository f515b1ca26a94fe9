import { momentOf } from '../disk-messages.ts';
import type { Gateway } from '../gateway.ts';
import type { ControlRequest, ControlResults } from './protocol.ts';
import type { ControlHandler } from './server.ts';

type Methods = {
  readonly [M in ControlRequest['method']]: (
    request: Extract<ControlRequest, { method: M }>,
  ) => Promise<ControlResults[M]>;
};

/** What the requests of the control socket do to a gateway. `config`: absolute path of its plugins.json. */
export function gatewayControl(gateway: Gateway, config: string): ControlHandler {
  const methods: Methods = {
    status: async () => ({
      pid: process.pid,
      uptimeMs: Math.round(process.uptime() * 1000),
      config,
      disks: await gateway.status(),
    }),
    detach: async ({ disk, force }) => ({ holders: await gateway.detach(disk, { force }) }),
    upgrade: async ({ disk }) => ({ pausedMs: await gateway.upgrade(disk) }),
    resize: async ({ disk, size }) => ({ size: await gateway.resize(disk, size) }),
    snapshot: ({ disk, name, at }) => gateway.snapshot(disk, name, momentOf({ at })),
  };
  return (request) => (methods[request.method] as (r: ControlRequest) => Promise<unknown>)(request);
}
