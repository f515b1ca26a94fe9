/**
 * Numbers and layouts of virtqueues: VIRTIO 1.3, sections 2.7 (split virtqueues), 2.8 (packed virtqueues) and 6
 * (reserved feature bits). Everything in guest memory is little-endian; offsets and sizes are in bytes unless the name
 * says otherwise.
 */

/** Feature bits that concern rings and transport (section 6). Bit numbers, not masks. */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_ACCESS_PLATFORM = 33;
export const VIRTIO_F_RING_PACKED = 34;

/** Descriptor flags (sections 2.7.5, 2.8.3, 2.8.6 and 2.8.7). */
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;

/** `flags` of the available ring: the driver asks for no interrupt. Meaningless with EVENT_IDX (2.7.7). */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** `flags` of the used ring: the device asks for no notification. Must stay 0 with EVENT_IDX (2.7.10). */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Largest virtqueue of either layout (sections 2.7 and 2.8). */
export const VIRTQ_MAX_SIZE = 32768;

/** `struct virtq_desc`: addr u64, len u32, flags u16, next u16. As 32-bit words: addr low, addr high, len, flags | next << 16. */
export const VIRTQ_DESC_SIZE = 16;
export const VIRTQ_DESC_WORDS = 4;
export const VIRTQ_DESC_ALIGN = 16;

/** `struct virtq_avail`: flags u16, idx u16, ring u16[size], used_event u16. Indices of 16-bit units. */
export const AVAIL_FLAGS = 0;
export const AVAIL_IDX = 1;
export const AVAIL_RING = 2;
export const VIRTQ_AVAIL_ALIGN = 2;
export const availRingBytes = (size: number, eventIdx: boolean): number => 4 + 2 * size + (eventIdx ? 2 : 0);
export const usedEventIndex = (size: number): number => AVAIL_RING + size;

/** `struct virtq_used`: flags u16, idx u16, ring { id u32, len u32 }[size], avail_event u16. Indices of 16-bit units. */
export const USED_FLAGS = 0;
export const USED_IDX = 1;
/** Index of the first element of the used ring, in 32-bit words; each element has two. */
export const USED_RING_WORD = 1;
export const VIRTQ_USED_ALIGN = 4;
export const usedRingBytes = (size: number, eventIdx: boolean): number => 4 + 8 * size + (eventIdx ? 2 : 0);
export const availEventIndex = (size: number): number => 2 + 4 * size;

/**
 * `struct pvirtq_desc` (section 2.8.13): addr u64, len u32, id u16, flags u16. Size and alignment are those of
 * `struct virtq_desc`. As 32-bit words: addr low, addr high, len, id | flags << 16; as 16-bit units, id and flags are
 * the last two of eight.
 */
export const PACKED_DESC_UNITS = 8;
export const PACKED_DESC_ID = 6;
export const PACKED_DESC_FLAGS = 7;

/** Flags of packed descriptors that say whose turn it is, and in which lap of the ring (section 2.8.1). */
export const PACKED_DESC_F_AVAIL = 0x80;
export const PACKED_DESC_F_USED = 0x8000;

/** `struct pvirtq_event_suppress` (section 2.8.14): offset u15, wrap u1, flags u16. Here as one 32-bit word. */
export const PACKED_EVENT_SIZE = 4;
export const PACKED_EVENT_ALIGN = 4;
export const PACKED_EVENT_WRAP_SHIFT = 15;
export const PACKED_EVENT_FLAGS_SHIFT = 16;
/** Values of its flags (section 2.8.10). */
export const RING_EVENT_FLAGS_ENABLE = 0;
export const RING_EVENT_FLAGS_DISABLE = 1;
export const RING_EVENT_FLAGS_DESC = 2;
