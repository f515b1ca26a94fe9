/*
 * The reference: the least a virtio-blk device on a file has to do. One thread per queue blocks on the kick, empties
 * the ring with one system call per segment, and shows completions in groups. Usage: device FILE
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout.h"

enum { PUBLISH_COMPLETIONS = 8, PUBLISH_BYTES = 65536 };

static uint8_t *memory;
static uint64_t memory_size;
static struct control *control;
static int file;

struct queue {
	int index;
	struct desc *desc;
	struct avail *avail;
	struct used *used;
	uint16_t last_avail, used_idx, considered;
	unsigned unpublished, unpublished_bytes;
};

static void *at(uint64_t addr, uint64_t len)
{
	if (addr > memory_size || len > memory_size - addr) return NULL;
	return memory + addr;
}

static uint8_t transfer(uint32_t type, uint8_t *data, uint32_t len, uint64_t offset)
{
	ssize_t moved = type == BLK_IN ? pread(file, data, len, offset) : pwrite(file, data, len, offset);
	return moved == (ssize_t)len ? BLK_OK : BLK_IOERR;
}

/* Returns the number of bytes moved; `*written` is what the used element says. */
static uint32_t serve(struct queue *q, uint16_t head, uint32_t *written)
{
	struct desc *table = q->desc, d = table[head];
	struct blk_header header = { 0 };
	uint32_t size = RING_SIZE, moved = 0;
	uint8_t result = BLK_OK, *status = NULL;

	if (d.flags & DESC_INDIRECT) {
		size = d.len / sizeof(struct desc);
		table = at(d.addr, d.len);
		if (table == NULL || size == 0) return 0;
		d = table[0];
	}
	for (uint32_t n = 0; n < size; n++) {
		uint8_t *data = at(d.addr, d.len);
		if (data == NULL) return 0;
		if (n == 0) {
			if (d.len < BLK_HEADER) return 0;
			header = *(struct blk_header *)data;
		} else if (!(d.flags & DESC_NEXT)) {
			status = data;
			break;
		} else if (result == BLK_OK) {
			result = transfer(header.type, data, d.len, header.sector * 512 + moved);
			moved += d.len;
		}
		if (!(d.flags & DESC_NEXT) || d.next >= size) return 0;
		d = table[d.next];
	}
	if (status == NULL) return 0;
	*status = result;
	*written = header.type == BLK_IN ? moved + 1 : 1;
	return moved;
}

/* Every published completion is considered once: `considered` moves even when no interrupt is due. */
static void publish(struct queue *q)
{
	uint64_t one = 1;
	uint16_t old = q->considered;

	if (q->unpublished == 0) return;
	q->unpublished = q->unpublished_bytes = 0;
	q->considered = q->used_idx;
	/* Sequentially consistent: the store comes before the look at used_event. */
	atomic_store(&q->used->idx, q->used_idx);
	if (!need_event(atomic_load(&q->avail->used_event), q->used_idx, old)) return;
	if (write(interrupt_fd(q->index), &one, sizeof one) != sizeof one) err(1, "interrupt");
}

static void *run(void *argument)
{
	struct queue *q = argument;
	uint64_t kicks;

	for (;;) {
		while (q->last_avail != atomic_load_explicit(&q->avail->idx, memory_order_acquire)) {
			uint16_t head = q->avail->ring[q->last_avail++ % RING_SIZE];
			uint32_t written = 0;

			if (head >= RING_SIZE) errx(1, "head %u", head);
			q->unpublished_bytes += serve(q, head, &written);
			q->used->ring[q->used_idx % RING_SIZE].id = head;
			q->used->ring[q->used_idx % RING_SIZE].len = written;
			q->used_idx++;
			if (++q->unpublished >= PUBLISH_COMPLETIONS || q->unpublished_bytes >= PUBLISH_BYTES) publish(q);
		}
		publish(q);
		atomic_store(&q->used->avail_event, q->last_avail);
		if (atomic_load(&q->avail->idx) != q->last_avail) continue;
		if (read(kick_fd(q->index), &kicks, sizeof kicks) != sizeof kicks) err(1, "kick");
		if (atomic_load(&control->stop)) return NULL;
	}
}

int main(int argc, char **argv)
{
	static struct queue queues[MAX_QUEUES];
	static pthread_t threads[MAX_QUEUES];

	if (argc != 2) errx(2, "usage: device FILE");
	file = open(argv[1], O_RDWR | O_CLOEXEC);
	if (file < 0) err(1, "%s", argv[1]);
	control = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, MEMORY_FD, 0);
	if (control == MAP_FAILED) err(1, "mmap");
	memory_size = control->memory_size;
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, MEMORY_FD, 0);
	if (memory == MAP_FAILED) err(1, "mmap");
	for (uint32_t i = 0; i < control->queues; i++) {
		struct queue *q = &queues[i];

		q->index = i;
		q->desc = at(control->queue[i].desc, sizeof(struct desc) * RING_SIZE);
		q->avail = at(control->queue[i].avail, sizeof(struct avail));
		q->used = at(control->queue[i].used, sizeof(struct used));
		if (pthread_create(&threads[i], NULL, run, q) != 0) errx(1, "no thread");
	}
	for (uint32_t i = 0; i < control->queues; i++) pthread_join(threads[i], NULL);
	return 0;
}
