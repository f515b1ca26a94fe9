import type { DeviceStatus } from '../../api/device.ts';
import { formatSize } from '../../util/size.ts';
import { ControlClient, notServing } from '../control/client.ts';
import type { GatewayStatus } from '../control/protocol.ts';
import { formatStack } from '../disk-stack.ts';
import type { DiskStatus } from '../disk-status.ts';
import type { DiskReport } from '../running-disk.ts';
import { ExitCode } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

/** Returns the exit status: 0 when every disk that is shown is running. */
export async function showStatus(
  names: readonly string[],
  { stateDir, json = false }: { readonly stateDir: string; readonly json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const gateways = (await new ControlClient(stateDir).status()).map((gateway) => only(gateway, names));
  const disks = gateways.flatMap((gateway) => gateway.disks);
  if (json) terminal.printJson(gateways);
  else {
    if (gateways.length === 0) terminal.say(`No gateway is running with its state in ${stateDir}.`);
    for (const disk of disks) terminal.print(describe(disk, terminal));
  }
  for (const name of names) if (!disks.some(({ disk }) => disk === name)) throw notServing(name, stateDir);
  const allRun = disks.length > 0 && disks.every(({ state, report }) => state === 'running' && report);
  return allRun ? ExitCode.OK : ExitCode.FAILED;
}

function only(gateway: GatewayStatus, names: readonly string[]): GatewayStatus {
  if (names.length === 0) return gateway;
  return { ...gateway, disks: gateway.disks.filter(({ disk }) => names.includes(disk)) };
}

/**
 * disk0  running  /dev/blockgate/disk0  10 GiB  vduse > file
 *   process      pid 812, up 3 h 2 m, 0 restarts, 0 requests in flight
 *   event loop   late by 0.1 ms (median), 1.2 ms (99 %), 14 ms (most)
 *   frontend     driver virtio_vdpa, queues 1, …
 *   standby      ready
 */
function describe(status: DiskStatus, terminal: Terminal): string {
  const { disk, state, details, report, restarts, standby, lastError } = status;
  const title = [terminal.style('bold', disk), terminal.style(colourOf(status), state)];
  if (details) title.push(details.path);
  if (report) title.push(formatSize(report.size));
  if (details) title.push(formatStack(details.stack));
  const facts: [string, string][] = [];
  if (report) facts.push(...factsOf(report, restarts));
  else if (state === 'running') facts.push(['process', 'does not answer']);
  else facts.push(['restarts', String(restarts)]);
  if (standby) facts.push(['standby', standby]);
  if (lastError) facts.push(['last death', lastError.message]);
  return [title.join('  '), ...facts.map(([label, text]) => `  ${label.padEnd(12)}${text}`)].join('\n');
}

function factsOf(report: DiskReport, restarts: number): [string, string][] {
  const { pid, uptimeMs, inFlight, loopDelayMs, frontend, filters, backend } = report;
  const { features, ...rest } = frontend;
  const words = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
  const facts: [string, string][] = [
    ['process', `pid ${pid}, up ${duration(uptimeMs)}, ${restarts} restarts, ${inFlight} requests in flight`],
    [
      'event loop',
      `late by ${loopDelayMs.p50} ms (median), ${loopDelayMs.p99} ms (99 %), ${loopDelayMs.max} ms (most)`,
    ],
  ];
  if (words.length > 0) facts.push(['frontend', words.join(', ')]);
  for (const [name, status] of Object.entries(filters)) facts.push([`filter ${name}`, wordsOf(status)]);
  if (Object.keys(backend).length > 0) facts.push(['backend', wordsOf(backend)]);
  if (Array.isArray(features)) facts.push(['features', features.join(' ')]);
  return facts;
}

const wordsOf = (status: DeviceStatus): string =>
  Object.entries(status)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

function colourOf({ state, report }: DiskStatus): 'green' | 'yellow' | 'red' {
  if (state === 'dead') return 'red';
  return state === 'running' && report ? 'green' : 'yellow';
}

/** `42 s`, `3 m 5 s`, `5 h 3 m`, `12 d 5 h`. */
function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} m`;
  return minutes > 0 ? `${minutes} m ${seconds % 60} s` : `${seconds} s`;
}
