/**
 * A gateway's process for tests to kill: opens the volume that the first argument configures (JSON), fills it, or as many
 * bytes as the second argument says, with the byte 0x5a, flushes, says so, and waits for its end.
 */

import { s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import { openContext } from './plugin-context.ts';

const config = s3Config.parse(JSON.parse(process.argv[2]!));
const device = await s3.open(config, openContext('/nonexistent'));
const bytes = Number(process.argv[3] ?? device.info.size);
await device.write!(0, [new Uint8Array(bytes).fill(0x5a)], 0);
await device.flush!(0);
await device.write!(0, [new Uint8Array(512)], 0);
process.stdout.write('flushed\n');
setInterval(() => {}, 1000);
