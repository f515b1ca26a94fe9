/* What driver and device agree on: inherited file descriptors, a control page, and split virtqueues (VIRTIO 1.3, 2.7). */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

enum {
	RING_SIZE = 512,
	MAX_QUEUES = 16,
	PAGE = 4096,
	/* A memfd whose offsets are the addresses in descriptors; then a kick and an interrupt eventfd for each queue. */
	MEMORY_FD = 3,
	FIRST_QUEUE_FD = 4,
};

/* At the start of the memory. device.ts knows the offsets. */
struct control {
	_Atomic uint32_t stop; /* The device ends at the next kick. */
	uint32_t queues;
	uint64_t memory_size;
	struct {
		uint64_t desc, avail, used;
	} queue[MAX_QUEUES];
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct avail {
	uint16_t flags;
	_Atomic uint16_t idx;
	uint16_t ring[RING_SIZE];
	_Atomic uint16_t used_event;
};

struct used {
	uint16_t flags;
	_Atomic uint16_t idx;
	struct {
		uint32_t id, len;
	} ring[RING_SIZE];
	_Atomic uint16_t avail_event;
};

/* VIRTIO 1.3, 5.2.6 */
enum { BLK_IN = 0, BLK_OUT = 1, BLK_OK = 0, BLK_IOERR = 1, BLK_HEADER = 16 };

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

static inline int need_event(uint16_t event, uint16_t next, uint16_t old)
{
	return (uint16_t)(next - event - 1) < (uint16_t)(next - old);
}

static inline int kick_fd(int queue)
{
	return FIRST_QUEUE_FD + 2 * queue;
}

static inline int interrupt_fd(int queue)
{
	return FIRST_QUEUE_FD + 2 * queue + 1;
}

#endif
