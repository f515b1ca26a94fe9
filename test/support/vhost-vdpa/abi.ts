/**
 * Numbers of <linux/vhost.h> and <linux/vhost_types.h>, as on x86-64: what a hypervisor says to /dev/vhost-vdpa-N.
 */

export const VHOST_GET_FEATURES = 0x8008af00;
export const VHOST_SET_FEATURES = 0x4008af00;
export const VHOST_SET_OWNER = 0x0000af01;
export const VHOST_SET_VRING_NUM = 0x4008af10;
export const VHOST_SET_VRING_ADDR = 0x4028af11;
export const VHOST_SET_VRING_BASE = 0x4008af12;
export const VHOST_GET_VRING_BASE = 0xc008af12;
export const VHOST_SET_VRING_KICK = 0x4008af20;
export const VHOST_SET_VRING_CALL = 0x4008af21;
export const VHOST_SET_BACKEND_FEATURES = 0x4008af25;
export const VHOST_GET_BACKEND_FEATURES = 0x8008af26;
export const VHOST_VDPA_GET_DEVICE_ID = 0x8004af70;
export const VHOST_VDPA_GET_STATUS = 0x8001af71;
export const VHOST_VDPA_SET_STATUS = 0x4001af72;
export const VHOST_VDPA_GET_CONFIG = 0x8008af73;
export const VHOST_VDPA_SET_VRING_ENABLE = 0x4008af75;
export const VHOST_VDPA_GET_VRING_NUM = 0x8002af76;

/** `struct vhost_vring_addr`. */
export const VringAddr = { SIZE: 40, INDEX: 0, DESC: 8, USED: 16, AVAIL: 24 } as const;
/** `struct vhost_vdpa_config`, followed by the bytes. */
export const VdpaConfig = { SIZE: 8, OFFSET: 0, LENGTH: 4 } as const;
/** `struct vhost_msg_v2` with a `struct vhost_iotlb_msg` in it. */
export const IotlbMessage = {
  SIZE: 72,
  VERSION: 0,
  IOVA: 8,
  LENGTH: 16,
  ADDRESS: 24,
  PERM: 32,
  TYPE: 33,
} as const;

export const VHOST_IOTLB_MSG_V2 = 2;
export const VHOST_IOTLB_UPDATE = 2;
export const VHOST_IOTLB_INVALIDATE = 3;
export const VHOST_IOTLB_BATCH_BEGIN = 5;
export const VHOST_IOTLB_BATCH_END = 6;

/** Bits of the backend features: messages of version 2, and batches of them. */
export const VHOST_BACKEND_F_IOTLB_MSG_V2 = 1n << 1n;
export const VHOST_BACKEND_F_IOTLB_BATCH = 1n << 2n;
