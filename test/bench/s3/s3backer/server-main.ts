/**
 * The embedded S3 server with a latency for every request: `server-main.ts <folder> <milliseconds>`. Says its address when it
 * can be used; asked by any message, what it was sent and has sent since the last one.
 */

import { S3Server } from '../../../../core/s3-server/server.ts';
import { CREDENTIALS, type Traffic } from './traffic.ts';

const [dataDir, latency] = process.argv.slice(2) as [string, string];
const server = await S3Server.start({
  dataDir,
  credentials: CREDENTIALS,
  fsync: false,
  requestLogSize: 2_000_000,
  faults: { latencyMs: [Number(latency), Number(latency)] },
});

process.on('message', () => {
  const records = server.requests.find();
  server.requests.clear();
  const sum = (of: 'bytesIn' | 'bytesOut'): number =>
    records.reduce((total, record) => total + record[of], 0);
  const traffic: Traffic = { requests: records.length, sent: sum('bytesIn'), received: sum('bytesOut') };
  process.send!(traffic);
});
// Whoever measures is gone.
process.on('disconnect', () => process.exit());
process.send!(server.endpoint);
