/**
 * Numbers and layouts of <linux/vduse.h>: API version 0 (Linux 5.15 and later), version 1 (7.0) and the VDUSE features
 * (7.3). The structs are in the byte order of the machine, which is little-endian everywhere this runs. Offsets and
 * sizes in bytes.
 */

const VDUSE_BASE = 0x81;
const NONE = 0;
const WRITE = 1;
const READ = 2;

/** `_IOC` of <asm-generic/ioctl.h>: direction, type, number and size of the argument in one u32. */
function ioc(direction: number, number: number, size: number): number {
  return ((direction << 30) | (size << 16) | (VDUSE_BASE << 8) | number) >>> 0;
}

/** Groups of virtqueues and address spaces. */
export const VDUSE_API_VERSION_1 = 1;
export const VDUSE_NAME_MAX = 256;

/** `struct vduse_dev_config`, followed by the configuration space. */
export const DevConfig = {
  SIZE: 336,
  NAME: 0,
  VENDOR_ID: 256,
  DEVICE_ID: 260,
  FEATURES: 264,
  VQ_NUM: 272,
  VQ_ALIGN: 276,
  /** Version 1: numbers of groups and of address spaces. Version 0: zero. */
  NGROUPS: 280,
  NAS: 284,
  CONFIG_SIZE: 332,
  CONFIG: 336,
} as const;

/**
 * `struct vduse_iotlb_entry`, and `vduse_iotlb_entry_v2`, which begins with it. The size of the latter, and with it
 * the number of its ioctl, changed after Linux 7.0; where its fields are did not.
 */
export const IotlbEntry = {
  SIZE: 32,
  SIZE_V2: 80,
  SIZE_V2_OF_7_0: 88,
  OFFSET: 0,
  START: 8,
  LAST: 16,
  PERM: 24,
  /** Version 2: the address space. */
  ASID: 32,
} as const;

/** `struct vduse_iova_umem`. */
export const IotlbUmem = { SIZE: 48, ADDRESS: 0, IOVA: 8, LENGTH: 16 } as const;

/** `struct vduse_iova_info`. */
export const IotlbInfo = { SIZE: 48, START: 0, LAST: 8, CAPABILITY: 16 } as const;

/** Bit of `CAPABILITY`: memory of the process may take the region's place. */
export const VDUSE_IOVA_CAP_UMEM = 0;

/** `struct vduse_config_data`, followed by the bytes. */
export const ConfigData = { SIZE: 8, OFFSET: 0, LENGTH: 4, BUFFER: 8 } as const;

/** `struct vduse_vq_config`. Version 1 has the group of the queue among the bytes that are reserved in version 0. */
export const VqConfig = { SIZE: 32, INDEX: 0, MAX_SIZE: 4 } as const;

/** `struct vduse_vq_info`. */
export const VqInfo = {
  SIZE: 48,
  INDEX: 0,
  NUM: 4,
  DESC_ADDR: 8,
  DRIVER_ADDR: 16,
  DEVICE_ADDR: 24,
  STATE: 32,
  READY: 40,
} as const;

/** `struct vduse_vq_eventfd`. */
export const VqEventfd = { SIZE: 8, INDEX: 0, FD: 4 } as const;

/** `struct vduse_dev_request`: what a read of the device returns. */
export const DevRequest = {
  SIZE: 152,
  TYPE: 0,
  REQUEST_ID: 4,
  /** GET_VQ_STATE: index of the queue. */
  VQ_INDEX: 24,
  /** SET_STATUS: the new device status. */
  STATUS: 24,
  /** UPDATE_IOTLB: first and last address. */
  IOVA_START: 24,
  IOVA_LAST: 32,
  /** The address space; zero in version 0. */
  IOVA_ASID: 40,
  /** SET_VQ_GROUP_ASID: group of queues, and its new address space. */
  GROUP: 24,
  GROUP_ASID: 28,
  /** SET_VQ_READY: index of the queue; not 0: it is ready. */
  VQ_READY_INDEX: 24,
  VQ_READY: 28,
} as const;

/** `struct vduse_dev_response`: what a write to the device takes. */
export const DevResponse = {
  SIZE: 152,
  REQUEST_ID: 0,
  RESULT: 4,
  /** Answer to GET_VQ_STATE. */
  VQ_INDEX: 24,
  VQ_STATE: 28,
} as const;

/** `struct vduse_vq_state_split` and `struct vduse_vq_state_packed`, which share their place. */
export const VqState = {
  SPLIT_AVAIL_INDEX: 0,
  PACKED_LAST_AVAIL_COUNTER: 0,
  PACKED_LAST_AVAIL_IDX: 2,
  PACKED_LAST_USED_COUNTER: 4,
  PACKED_LAST_USED_IDX: 6,
} as const;

export const VDUSE_REQ_RESULT_OK = 0;
export const VDUSE_REQ_RESULT_FAILED = 1;

/** Types of `vduse_dev_request`. */
export const VDUSE_GET_VQ_STATE = 0;
export const VDUSE_SET_STATUS = 1;
export const VDUSE_UPDATE_IOTLB = 2;
export const VDUSE_SET_VQ_GROUP_ASID = 3;
export const VDUSE_SET_VQ_READY = 4;
export const VDUSE_SUSPEND = 5;

/** Bits of VDUSE_GET_FEATURES: the kernel sends SET_VQ_READY; it sends SUSPEND. */
export const VDUSE_F_QUEUE_READY = 0;
export const VDUSE_F_SUSPEND = 1;

/** ioctls of /dev/vduse/control. */
export const VDUSE_GET_API_VERSION = ioc(READ, 0x00, 8);
export const VDUSE_SET_API_VERSION = ioc(WRITE, 0x01, 8);
export const VDUSE_CREATE_DEV = ioc(WRITE, 0x02, DevConfig.SIZE);
export const VDUSE_DESTROY_DEV = ioc(WRITE, 0x03, VDUSE_NAME_MAX);
export const VDUSE_GET_FEATURES = ioc(READ, 0x04, 8);
export const VDUSE_SET_FEATURES = ioc(WRITE, 0x05, 8);

/** ioctls of /dev/vduse/NAME. */
export const VDUSE_IOTLB_GET_FD = ioc(READ | WRITE, 0x10, IotlbEntry.SIZE);
export const VDUSE_DEV_GET_FEATURES = ioc(READ, 0x11, 8);
export const VDUSE_DEV_SET_CONFIG = ioc(WRITE, 0x12, ConfigData.SIZE);
export const VDUSE_DEV_INJECT_CONFIG_IRQ = ioc(NONE, 0x13, 0);
export const VDUSE_VQ_SETUP = ioc(WRITE, 0x14, VqConfig.SIZE);
export const VDUSE_VQ_GET_INFO = ioc(READ | WRITE, 0x15, VqInfo.SIZE);
export const VDUSE_VQ_SETUP_KICKFD = ioc(WRITE, 0x16, VqEventfd.SIZE);
export const VDUSE_VQ_INJECT_IRQ = ioc(WRITE, 0x17, 4);
export const VDUSE_IOTLB_REG_UMEM = ioc(WRITE, 0x18, IotlbUmem.SIZE);
export const VDUSE_IOTLB_DEREG_UMEM = ioc(WRITE, 0x19, IotlbUmem.SIZE);
export const VDUSE_IOTLB_GET_INFO = ioc(READ | WRITE, 0x1a, IotlbInfo.SIZE);
export const VDUSE_IOTLB_GET_FD2 = ioc(READ | WRITE, 0x1b, IotlbEntry.SIZE_V2);
export const VDUSE_IOTLB_GET_FD2_OF_7_0 = ioc(READ | WRITE, 0x1b, IotlbEntry.SIZE_V2_OF_7_0);

/** Device status bits (VIRTIO 1.3, 2.1) that ask something of the device. */
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_FAILED = 0x80;
