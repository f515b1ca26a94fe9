import { formatSize } from '../../util/size.ts';
import { formatStack } from '../disk-stack.ts';
import type { GatewayEvent } from '../gateway-events.ts';
import type { DiskDetails } from '../running-disk.ts';
import { errorToJson } from './error-json.ts';
import { printError } from './print-error.ts';
import type { Terminal } from './terminal.ts';

type Announcement = Exclude<GatewayEvent, { type: 'ready' | 'held' } | { error: unknown }>;

/** Shows an event to a person: what can be used on standard output, the rest on standard error. */
export function printEvent(event: GatewayEvent, terminal: Terminal): void {
  if (event.type === 'ready') {
    terminal.print(readyLine(event.details, terminal));
    for (const line of event.details.usage) terminal.print(`  ${line}`);
  } else if ('error' in event) {
    terminal.say(terminal.tint('bold', `${event.disk}:`));
    printError(terminal, event.error);
  }
  // `held` is said once, with what to do about it, by whoever asked for the stop.
  else if (event.type !== 'held') terminal.say(`${event.disk}: ${announcement(event)}`);
}

function readyLine({ name, path, size, stack, caps }: DiskDetails, terminal: Terminal): string {
  const notes = `${caps.write ? '' : ', read-only'}${caps.volatile ? ', volatile' : ''}`;
  return `${terminal.style('bold', name)}  ${path}  ${formatSize(size)}${notes}  ${formatStack(stack)}`;
}

function announcement(event: Announcement): string {
  switch (event.type) {
    case 'restarting':
      return event.delayMs === 0 ? 'starting again' : `starting again in ${event.delayMs / 1000} s`;
    case 'given-up':
      return 'stays down';
    case 'standing-by':
      return 'another process stands by';
    case 'upgrading':
      return 'another process takes over …';
    case 'upgraded':
      return `another process serves it; I/O was paused for ${event.pausedMs} ms`;
    case 'resized':
      return `has ${formatSize(event.size)} now`;
    case 'stopping':
      return 'stopping …';
    case 'stopped':
      return 'stopped';
  }
}

/** The same for scripts: `{"event":"ready","disk":"disk0","path":…,"size":…,"stack":[…]}`. */
export function eventToJson(event: GatewayEvent): Readonly<Record<string, unknown>> {
  const { type, ...facts } = event;
  if (event.type === 'ready') {
    const { name, ...details } = event.details;
    return { event: type, disk: name, ...details, restarts: event.restarts };
  }
  if ('error' in event) return { event: type, disk: event.disk, error: errorToJson(event.error) };
  return { event: type, ...facts };
}
