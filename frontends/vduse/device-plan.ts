import type { Volume } from '../../core/api/device.ts';
import { blkConfigSpace } from '../virtio/blk/config-space.ts';
import { offeredFeatures } from '../virtio/blk/features.ts';
import { type BlkLimits, blkLimits } from '../virtio/blk/limits.ts';
import { checkBounce } from './bounce.ts';
import type { VduseConfig } from './config.ts';
import { deviceName } from './device-admin.ts';
import type { DeviceState } from './state-file.ts';

/**
 * Data segments of one request, whatever the queue's size: with segments of 64 KiB that makes 16 MiB, a quarter of the
 * bounce memory that the kernel gives by itself, so that several find room at a time.
 */
const MAX_SEGMENTS = 254;

/** What the device of a disk is to be. */
export interface DevicePlan {
  readonly limits: BlkLimits;
  readonly state: DeviceState;
}

/** Throws `vduse.bounce-too-small`. */
export function planDevice(volume: Volume, config: VduseConfig, disk: string): DevicePlan {
  const { size, caps, limits, content } = volume;
  const { attach, queues, queueSize, ring, eventIdx, indirect } = config;
  const blk = limitsOf(volume, config);
  const state: DeviceState = {
    name: deviceName(disk),
    attach,
    features: offeredFeatures(caps, { layout: ring, eventIdx, indirect }),
    queues,
    queueSize,
    configSpace: blkConfigSpace({ size, caps, limits, blk, queues }),
    serial: config.serial ?? disk.slice(0, 20),
    ...(content !== undefined && { content }),
  };
  return { limits: blk, state };
}

function limitsOf(volume: Volume, config: VduseConfig): BlkLimits {
  const limits = blkLimits(volume.caps, volume.limits, config.queueSize);
  const bounded = { ...limits, segMax: Math.min(limits.segMax, MAX_SEGMENTS) };
  checkBounce(bounded, config.bounceSize);
  return bounded;
}
