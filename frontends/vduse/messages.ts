import type { RingState } from '../virtio/virtq/ring-state.ts';
import {
  DevRequest,
  DevResponse,
  VDUSE_GET_VQ_STATE,
  VDUSE_REQ_RESULT_FAILED,
  VDUSE_REQ_RESULT_OK,
  VDUSE_SET_STATUS,
  VDUSE_SET_VQ_GROUP_ASID,
  VDUSE_SET_VQ_READY,
  VDUSE_SUSPEND,
  VDUSE_UPDATE_IOTLB,
} from './abi.ts';
import { writeVqState } from './vq-state.ts';

/** What the kernel asks; a thread of its sleeps until the answer. */
export type Request =
  | { readonly id: number; readonly type: 'set-status'; readonly status: number }
  | { readonly id: number; readonly type: 'get-vq-state'; readonly index: number }
  | {
      readonly id: number;
      readonly type: 'update-iotlb';
      readonly start: bigint;
      readonly last: bigint;
      readonly asid: number;
    }
  | { readonly id: number; readonly type: 'set-vq-group-asid'; readonly group: number; readonly asid: number }
  | { readonly id: number; readonly type: 'set-vq-ready'; readonly index: number; readonly ready: boolean }
  | { readonly id: number; readonly type: 'suspend' }
  /** Of a newer kernel, about something that was not negotiated. */
  | { readonly id: number; readonly type: 'unknown'; readonly number: number };

export interface Reply {
  readonly ok: boolean;
  /** Answer to `get-vq-state`. */
  readonly vqState?: { readonly index: number; readonly state: RingState };
}

/** Decodes one `struct vduse_dev_request`. Undefined when there are fewer bytes than one takes. */
export function decodeRequest(bytes: Uint8Array): Request | undefined {
  if (bytes.length < DevRequest.SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const id = view.getUint32(DevRequest.REQUEST_ID, true);
  const number = view.getUint32(DevRequest.TYPE, true);
  switch (number) {
    case VDUSE_SET_STATUS:
      return { id, type: 'set-status', status: view.getUint8(DevRequest.STATUS) };
    case VDUSE_GET_VQ_STATE:
      return { id, type: 'get-vq-state', index: view.getUint32(DevRequest.VQ_INDEX, true) };
    case VDUSE_UPDATE_IOTLB:
      return {
        id,
        type: 'update-iotlb',
        start: view.getBigUint64(DevRequest.IOVA_START, true),
        last: view.getBigUint64(DevRequest.IOVA_LAST, true),
        asid: view.getUint32(DevRequest.IOVA_ASID, true),
      };
    case VDUSE_SET_VQ_GROUP_ASID:
      return {
        id,
        type: 'set-vq-group-asid',
        group: view.getUint32(DevRequest.GROUP, true),
        asid: view.getUint32(DevRequest.GROUP_ASID, true),
      };
    case VDUSE_SET_VQ_READY:
      return {
        id,
        type: 'set-vq-ready',
        index: view.getUint32(DevRequest.VQ_READY_INDEX, true),
        ready: view.getUint32(DevRequest.VQ_READY, true) !== 0,
      };
    case VDUSE_SUSPEND:
      return { id, type: 'suspend' };
    default:
      return { id, type: 'unknown', number };
  }
}

/** Encodes a `struct vduse_dev_response`; its reserved fields have to be zero. */
export function encodeReply(id: number, reply: Reply): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(DevResponse.SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(DevResponse.REQUEST_ID, id, true);
  view.setUint32(DevResponse.RESULT, reply.ok ? VDUSE_REQ_RESULT_OK : VDUSE_REQ_RESULT_FAILED, true);
  if (reply.vqState !== undefined) {
    view.setUint32(DevResponse.VQ_INDEX, reply.vqState.index, true);
    writeVqState(view, DevResponse.VQ_STATE, reply.vqState.state);
  }
  return bytes;
}

/** For logs: `set-status 0x0f`. */
export function describeRequest(request: Request): string {
  switch (request.type) {
    case 'set-status':
      return `set-status 0x${request.status.toString(16).padStart(2, '0')}`;
    case 'get-vq-state':
      return `get-vq-state ${request.index}`;
    case 'update-iotlb':
      return `update-iotlb 0x${request.start.toString(16)}-0x${request.last.toString(16)} of address space ${request.asid}`;
    case 'set-vq-group-asid':
      return `set-vq-group-asid ${request.group} ${request.asid}`;
    case 'set-vq-ready':
      return `set-vq-ready ${request.index} ${request.ready}`;
    case 'suspend':
      return 'suspend';
    case 'unknown':
      return `unknown request ${request.number}`;
  }
}
