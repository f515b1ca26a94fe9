/**
 * Numbers and layouts of the block device: VIRTIO 1.3, section 5.2. Sectors are 512 bytes whatever the block size.
 */

export const VIRTIO_ID_BLOCK = 2;
export const SECTOR_SIZE = 512;

/** Feature bits (section 5.2.3). Bit numbers, not masks. CONFIG_WCE (11) is missing on purpose: VDUSE refuses it. */
export const VIRTIO_BLK_F_SIZE_MAX = 1;
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_MQ = 12;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

/** `struct virtio_blk_config` (section 5.2.4): byte offsets of the fields in use; the rest stays zero. */
export const BLK_CONFIG_SIZE = 96;
export const BlkConfigOffset = {
  CAPACITY: 0,
  SIZE_MAX: 8,
  SEG_MAX: 12,
  BLK_SIZE: 20,
  PHYSICAL_BLOCK_EXP: 24,
  MIN_IO_SIZE: 26,
  OPT_IO_SIZE: 28,
  NUM_QUEUES: 34,
  MAX_DISCARD_SECTORS: 36,
  MAX_DISCARD_SEG: 40,
  DISCARD_SECTOR_ALIGNMENT: 44,
  MAX_WRITE_ZEROES_SECTORS: 48,
  MAX_WRITE_ZEROES_SEG: 52,
  WRITE_ZEROES_MAY_UNMAP: 56,
} as const;

/** Header of every request (section 5.2.6): type u32, reserved u32, sector u64. */
export const BLK_HEADER_SIZE = 16;

/** Request types (section 5.2.6). */
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;

/** Length of the string GET_ID returns: ASCII, padded with NUL, not terminated when all 20 are used. */
export const VIRTIO_BLK_ID_BYTES = 20;

/** `struct virtio_blk_discard_write_zeroes`: sector u64, num_sectors u32, flags u32. */
export const BLK_RANGE_SIZE = 16;
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

/** Status byte (section 5.2.6): the last device-writable byte of a request. */
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
