import { GatewayError } from '../../core/api/errors.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { GuestMemory } from '../virtio/memory/guest-memory.ts';
import { Scratch } from '../virtio/memory/scratch.ts';
import type { QueueInfo, VduseDevice } from './device.ts';
import { Iotlb } from './iotlb.ts';

/** Offset of `idx` in the available and the used ring. */
const RING_IDX = 2;

/**
 * Where an earlier process stopped, without its log: the kernel only knows where the driver started, and a split ring
 * tells only when nothing is outstanding, since completions come in any order. Throws `vduse.requests-outstanding`.
 */
export function idlePositions(device: VduseDevice, logger: Logger, infos: readonly QueueInfo[]): QueueInfo[] {
  const iotlb = new Iotlb(device, logger);
  try {
    return infos.map((info, index) => {
      if (!info.ready) return info;
      if (info.state.layout === 'packed') throw positionLost(device.name);
      const available = readU16(iotlb.memory, info.driverAddr + RING_IDX);
      const used = readU16(iotlb.memory, info.deviceAddr + RING_IDX);
      const outstanding = (available - used) & 0xffff;
      if (outstanding !== 0) throw requestsOutstanding(device.name, index, outstanding);
      return { ...info, state: { layout: 'split', availIndex: used } };
    });
  } finally {
    void iotlb.retire();
  }
}

function readU16(memory: GuestMemory, iova: number): number {
  const scratch = new Scratch(2);
  if (!memory.read(iova, 2, scratch, 0)) throw new Error(`the ring at 0x${iova.toString(16)} is not mapped`);
  return new DataView(scratch.bytes.buffer).getUint16(0, true);
}

function requestsOutstanding(name: string, queue: number, count: number): GatewayError {
  return new GatewayError(
    'vduse.requests-outstanding',
    `The VDUSE device "${name}" cannot be served again: ${count} requests are unanswered.`,
    {
      why: `An earlier process ended with requests in virtqueue ${queue}, and the file that says which is gone.`,
      fix: 'If you run blockgate in a container, give it the /run/blockgate of the machine. Now restart this machine (the virtual machine, if it is one). What was flushed to the disk before is safe.',
    },
  );
}

/** The used index of a split ring is in the ring; of a packed one it is nowhere but in the device. */
function positionLost(name: string): GatewayError {
  return new GatewayError(
    'vduse.requests-outstanding',
    `The VDUSE device "${name}" cannot be served again: how far its packed virtqueues are is not known.`,
    {
      why: 'An earlier process ended, and the file that says how far it was is gone.',
      fix: `If nothing uses the disk: "vdpa dev del ${name}". Otherwise restart this machine (the virtual machine, if it is one).`,
    },
  );
}
