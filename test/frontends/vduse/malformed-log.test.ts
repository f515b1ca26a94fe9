import { expect, it } from 'vitest';
import { MalformedLog } from '../../../frontends/vduse/malformed-log.ts';
import { MemoryLogger } from '../../support/fake-device.ts';

it('a guest that floods the queue with malformed requests does not flood the log', () => {
  const logger = new MemoryLogger();
  let now = 0;
  const log = new MalformedLog(logger, 3, () => now);
  for (let i = 0; i < 1000; i++) log.report('a loop');
  now = 999;
  log.report('another');
  now = 1000;
  log.report('no status');
  now = 5000;
  log.report('a loop');
  expect(logger.lines).toEqual([
    { level: 'warn', message: 'malformed request', fields: { queue: 3, defect: 'a loop', untold: 0 } },
    { level: 'warn', message: 'malformed request', fields: { queue: 3, defect: 'no status', untold: 1000 } },
    { level: 'warn', message: 'malformed request', fields: { queue: 3, defect: 'a loop', untold: 0 } },
  ]);
});
