/*
 * A virtio-blk driver in user space, and the stopwatch: makes the rings, starts the device under test, keeps a number of
 * requests outstanding on each queue, one thread per queue, and prints a line of JSON.
 *
 * Requests look like those of Linux's virtio_blk behind VDUSE: an indirect table each, with header and status in pages
 * of their own, and segments that are not neighbours, since I/O addresses are handed out downwards.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

enum {
	SECTOR = 512,
	/* Data buffers are used in turn, more of them than there are requests: none belongs to a head. */
	MIN_BUFFERS = 256,
	/* Latencies: eight buckets per power of two of nanoseconds. */
	BUCKET_BITS = 3,
	BUCKETS = 48 << BUCKET_BITS,
	DEVICE_EXIT_SECONDS = 10,
};

/* The first word of sector N of the file is N ^ FILE_SALT: main.ts writes it. */
static const uint64_t FILE_SALT = 0x626c6f636b676174;

enum phase { WARMUP, MEASURE, FINISH };

static struct {
	const char *rw;
	int queues, depth, verify;
	uint64_t block, segment, size;
	uint64_t warmup;
	double seconds;
	const char *placement;
} option = { .rw = "randread", .queues = 1, .depth = 1, .block = 4096, .segment = 65536, .warmup = 1, .seconds = 2,
	     .placement = "free" };

struct slot {
	uint64_t submitted, offset, salt;
	uint8_t *data;
	int type;
};

struct queue {
	int index;
	struct desc *desc;
	struct avail *avail;
	struct used *used;
	/* For each slot a page with the table, one with the header, one with the status. */
	uint8_t *framing, *buffers;
	uint32_t buffer_count, next_buffer;
	uint32_t table_pages;
	uint16_t avail_idx, kicked, used_idx;
	uint32_t in_flight;
	uint64_t random, position, requests, salt;
	uint64_t histogram[BUCKETS];
	_Atomic uint64_t completed;
	struct slot slots[RING_SIZE];
};

static uint8_t *memory;
static struct queue queues[MAX_QUEUES];
static _Atomic int phase;
static int writes, sequential;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t align(uint64_t value)
{
	return (value + PAGE - 1) / PAGE * PAGE;
}

static uint64_t address(const void *pointer)
{
	return (const uint8_t *)pointer - memory;
}

static unsigned bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < 1 << BUCKET_BITS) return ns;
	shift = 63 - __builtin_clzll(ns) - BUCKET_BITS;
	if (shift > 40) shift = 40;
	return ((shift + 1) << BUCKET_BITS) + ((ns >> shift) & ((1 << BUCKET_BITS) - 1));
}

/* The middle of a bucket. */
static double bucket_ns(unsigned index)
{
	unsigned shift = index >> BUCKET_BITS, low = index & ((1 << BUCKET_BITS) - 1);

	return shift == 0 ? low : (double)((1ull << BUCKET_BITS) + low + 0.5) * (double)(1ull << (shift - 1));
}

/* Each slot has blocks of its own, so that what one has written is what it reads. */
static uint64_t next_offset(struct queue *q, int slot)
{
	uint64_t blocks = option.size / option.block;
	uint64_t parts = (uint64_t)option.queues * option.depth, per_part = blocks / parts;

	if (sequential) {
		uint64_t per_queue = blocks / option.queues;

		q->position = (q->position + 1) % per_queue;
		return (q->index * per_queue + q->position) * option.block;
	}
	q->random ^= q->random << 13;
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return ((q->random % per_part) * parts + (uint64_t)q->index * option.depth + slot) * option.block;
}

/* Byte `done` of a request is here: segments lie one below the other. */
static uint8_t *byte_at(struct slot *s, uint64_t done)
{
	uint64_t within = done % option.segment, end = done - within + option.segment;

	return s->data + option.block - (end < option.block ? end : option.block) + within;
}

static uint64_t *sector_word(struct slot *s, uint64_t done)
{
	return (uint64_t *)byte_at(s, done);
}

static void fill(struct slot *s)
{
	for (uint64_t done = 0; done < option.block; done += SECTOR)
		*sector_word(s, done) = ((s->offset + done) / SECTOR) ^ s->salt;
}

static void check(struct slot *s)
{
	for (uint64_t done = 0; done < option.block; done += SECTOR) {
		uint64_t expected = ((s->offset + done) / SECTOR) ^ s->salt, found = *sector_word(s, done);

		if (found != expected)
			errx(1, "sector %llu holds %llx instead of %llx", (unsigned long long)(s->offset + done) / SECTOR,
			     (unsigned long long)found, (unsigned long long)expected);
	}
}

static void submit(struct queue *q, int index, uint64_t time)
{
	struct slot *s = &q->slots[index];
	uint8_t *framing = q->framing + (uint64_t)index * (q->table_pages + 2) * PAGE;
	struct desc *table = (struct desc *)framing;
	struct blk_header *header = (struct blk_header *)(framing + (uint64_t)q->table_pages * PAGE);
	uint8_t *status = framing + (uint64_t)(q->table_pages + 1) * PAGE;
	uint16_t flags = DESC_NEXT | (s->type == BLK_IN ? DESC_WRITE : 0);
	uint32_t count = 0;

	s->data = q->buffers + (uint64_t)(q->next_buffer++ % q->buffer_count) * option.block;
	if (option.verify && s->type == BLK_OUT) fill(s);
	if (option.verify && s->type == BLK_IN) memset(s->data, 0xee, option.block);
	*header = (struct blk_header){ .type = s->type, .sector = s->offset / SECTOR };
	*status = 0xff;
	table[count++] = (struct desc){ address(header), BLK_HEADER, DESC_NEXT, 1 };
	for (uint64_t done = 0; done < option.block; done += option.segment) {
		uint64_t left = option.block - done;

		table[count] = (struct desc){ address(byte_at(s, done)), left < option.segment ? left : option.segment, flags,
					      count + 1 };
		count++;
	}
	table[count++] = (struct desc){ address(status), 1, DESC_WRITE, 0 };
	q->desc[index] = (struct desc){ address(table), count * sizeof(struct desc), DESC_INDIRECT, 0 };
	s->submitted = time;
	q->avail->ring[q->avail_idx % RING_SIZE] = index;
	q->avail_idx++;
	q->in_flight++;
	atomic_store_explicit(&q->avail->idx, q->avail_idx, memory_order_release);
}

static void submit_new(struct queue *q, int index, uint64_t time)
{
	struct slot *s = &q->slots[index];

	s->type = writes ? BLK_OUT : BLK_IN;
	s->offset = next_offset(q, index);
	s->salt = writes ? ++q->salt << 32 : FILE_SALT;
	submit(q, index, time);
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof one) != sizeof one) err(1, "eventfd");
}

static void kick_if_wanted(struct queue *q)
{
	uint16_t old = q->kicked;

	q->kicked = q->avail_idx;
	atomic_thread_fence(memory_order_seq_cst);
	if (need_event(atomic_load(&q->used->avail_event), q->avail_idx, old)) signal_fd(kick_fd(q->index));
}

static void complete(struct queue *q, uint64_t time)
{
	uint32_t index = q->used->ring[q->used_idx % RING_SIZE].id;
	uint32_t written = q->used->ring[q->used_idx % RING_SIZE].len;
	int now_phase = atomic_load_explicit(&phase, memory_order_relaxed);
	struct slot *s = &q->slots[index];
	uint8_t status;

	if (index >= (uint32_t)option.depth) errx(1, "%u is not a head", index);
	status = q->framing[((uint64_t)(index + 1) * (q->table_pages + 2) - 1) * PAGE];
	q->used_idx++;
	q->in_flight--;
	if (status != BLK_OK) errx(1, "request %u ended with status %u", index, status);
	if (written != (s->type == BLK_IN ? option.block + 1 : 1)) errx(1, "%u bytes written", written);
	if (now_phase == MEASURE) {
		q->requests++;
		q->histogram[bucket(time - s->submitted)]++;
	}
	if (option.verify && s->type == BLK_IN) check(s);
	if (now_phase == FINISH) return;
	if (option.verify && s->type == BLK_OUT) {
		s->type = BLK_IN;
		submit(q, index, time);
	} else {
		submit_new(q, index, time);
	}
}

static void *drive(void *argument)
{
	struct queue *q = argument;
	uint64_t interrupts, completed = 0, time = now();

	for (int i = 0; i < option.depth; i++) submit_new(q, i, time);
	kick_if_wanted(q);
	while (q->in_flight > 0) {
		if (q->used_idx == atomic_load_explicit(&q->used->idx, memory_order_acquire)) {
			atomic_store(&q->avail->used_event, q->used_idx);
			if (q->used_idx == atomic_load(&q->used->idx) &&
			    read(interrupt_fd(q->index), &interrupts, sizeof interrupts) != sizeof interrupts)
				err(1, "interrupt");
			continue;
		}
		time = now();
		while (q->used_idx != atomic_load_explicit(&q->used->idx, memory_order_acquire)) complete(q, time), completed++;
		kick_if_wanted(q);
		atomic_store_explicit(&q->completed, completed, memory_order_relaxed);
	}
	return NULL;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0) err(1, "sched_setaffinity");
}

/* `same`: driver and device share a processor; `cross`: each has one; `free`: the scheduler decides. */
static void place(int device)
{
	int last = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	if (strcmp(option.placement, "same") == 0) pin(last);
	if (strcmp(option.placement, "cross") == 0) pin(device ? last : 0);
}

static uint64_t carve(uint64_t *end, uint64_t bytes)
{
	uint64_t at = *end;

	*end += align(bytes);
	return at;
}

/* Makes the memory and the eventfds, at the numbers layout.h says. */
static struct control *set_up(void)
{
	uint64_t end = PAGE, framing[MAX_QUEUES], buffers[MAX_QUEUES];
	uint64_t table_pages = align((option.block / option.segment + 3) * sizeof(struct desc)) / PAGE;
	uint64_t buffer_count = option.block > PAGE ? 2 * option.depth : 2 * option.depth + MIN_BUFFERS;
	struct control layout = { .queues = option.queues };
	int fd = memfd_create("ring", 0);

	if (fd != MEMORY_FD) errx(1, "the memory is file descriptor %d", fd);
	for (int i = 0; i < option.queues; i++) {
		if (eventfd(0, 0) != kick_fd(i) || eventfd(0, 0) != interrupt_fd(i)) errx(1, "eventfd");
		layout.queue[i].desc = carve(&end, sizeof(struct desc) * RING_SIZE);
		layout.queue[i].avail = carve(&end, sizeof(struct avail));
		layout.queue[i].used = carve(&end, sizeof(struct used));
		framing[i] = carve(&end, (table_pages + 2) * PAGE * option.depth);
		buffers[i] = carve(&end, buffer_count * option.block);
	}
	layout.memory_size = end;
	if (ftruncate(fd, end) != 0) err(1, "ftruncate");
	memory = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (memory == MAP_FAILED) err(1, "mmap");
	*(struct control *)memory = layout;
	for (int i = 0; i < option.queues; i++) {
		queues[i] = (struct queue){
			.index = i,
			.desc = (void *)(memory + layout.queue[i].desc),
			.avail = (void *)(memory + layout.queue[i].avail),
			.used = (void *)(memory + layout.queue[i].used),
			.framing = memory + framing[i],
			.buffers = memory + buffers[i],
			.buffer_count = buffer_count,
			.table_pages = table_pages,
			.random = 0x9e3779b97f4a7c15u + i,
		};
	}
	return (struct control *)memory;
}

static pid_t start(char **command)
{
	pid_t pid = fork();

	if (pid < 0) err(1, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		place(1);
		dup2(2, 1);
		execv(command[0], command);
		err(127, "%s", command[0]);
	}
	return pid;
}

static void check_alive(pid_t device)
{
	int status;

	if (waitpid(device, &status, WNOHANG) == device) errx(1, "the device ended early, with status %x", status);
}

static void wait_seconds(pid_t device, double seconds)
{
	for (uint64_t end = now() + seconds * 1e9, time = now(); time < end; time = now()) {
		check_alive(device);
		usleep(end - time < 50000000 ? (end - time) / 1000 + 1 : 50000);
	}
}

/* A number of requests, not a time: that is what makes a JIT compiler compile. */
static void warm_up(pid_t device)
{
	for (int i = 0; i < option.queues; i++)
		while (atomic_load(&queues[i].completed) < option.warmup / option.queues) wait_seconds(device, 0.01);
}

static double cpu_seconds(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if ((errno = clock_getcpuclockid(pid, &clock)) != 0) err(1, "clock of the device");
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double percentile(const uint64_t *histogram, uint64_t total, double fraction)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		sum += histogram[i];
		if (sum > total * fraction) return bucket_ns(i) / 1000;
	}
	return 0;
}

static void stop_device(struct control *control, pid_t device)
{
	int status = 0;

	atomic_store(&control->stop, 1);
	for (int i = 0; i < option.queues; i++) signal_fd(kick_fd(i));
	for (int i = 0; i < DEVICE_EXIT_SECONDS * 100; i++) {
		if (waitpid(device, &status, WNOHANG) == device) {
			if (status != 0) errx(1, "the device ended with status %x", status);
			return;
		}
		usleep(10000);
	}
	kill(device, SIGKILL);
	errx(1, "the device does not end");
}

static void report(double seconds, double cpu)
{
	static uint64_t histogram[BUCKETS];
	uint64_t requests = 0;

	for (int i = 0; i < option.queues; i++) {
		requests += queues[i].requests;
		for (unsigned b = 0; b < BUCKETS; b++) histogram[b] += queues[i].histogram[b];
	}
	if (requests == 0) errx(1, "no request completed");
	printf("{\"iops\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"cpuPerRequest\":%.4f}\n", requests / seconds,
	       percentile(histogram, requests, 0.5), percentile(histogram, requests, 0.99), cpu * 1e6 / requests);
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "rw", 1, 0, 'r' }, { "queues", 1, 0, 'q' }, { "depth", 1, 0, 'd' }, { "block", 1, 0, 'b' },
		{ "segment", 1, 0, 'g' }, { "size", 1, 0, 's' }, { "warmup", 1, 0, 'w' }, { "seconds", 1, 0, 't' },
		{ "placement", 1, 0, 'p' }, { "verify", 0, 0, 'v' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
		switch (c) {
		case 'r': option.rw = optarg; break;
		case 'q': option.queues = atoi(optarg); break;
		case 'd': option.depth = atoi(optarg); break;
		case 'b': option.block = strtoull(optarg, NULL, 10); break;
		case 'g': option.segment = strtoull(optarg, NULL, 10); break;
		case 's': option.size = strtoull(optarg, NULL, 10); break;
		case 'w': option.warmup = strtoull(optarg, NULL, 10); break;
		case 't': option.seconds = atof(optarg); break;
		case 'p': option.placement = optarg; break;
		case 'v': option.verify = 1; break;
		default: exit(2);
		}
	}
	if (optind == argc) errx(2, "usage: driver OPTIONS -- DEVICE ARGUMENTS");
	if (option.queues < 1 || option.queues > MAX_QUEUES || option.depth < 1 || option.depth > RING_SIZE ||
	    option.block % SECTOR != 0 || option.segment % SECTOR != 0 || option.block == 0 || option.segment == 0 ||
	    option.size / option.block < (uint64_t)option.queues * option.depth)
		errx(2, "impossible options");
	writes = strstr(option.rw, "write") != NULL;
	sequential = strncmp(option.rw, "rand", 4) != 0;
	if (option.segment > option.block) option.segment = option.block;
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_QUEUES];
	struct control *control;
	double cpu;
	uint64_t begin, end;
	pid_t device;

	parse(argc, argv);
	control = set_up();
	device = start(argv + optind);
	place(0);
	for (int i = 0; i < option.queues; i++)
		if (pthread_create(&threads[i], NULL, drive, &queues[i]) != 0) errx(1, "no thread");
	warm_up(device);
	cpu = cpu_seconds(device);
	begin = now();
	atomic_store(&phase, MEASURE);
	wait_seconds(device, option.seconds);
	atomic_store(&phase, FINISH);
	end = now();
	cpu = cpu_seconds(device) - cpu;
	for (int i = 0; i < option.queues; i++) pthread_join(threads[i], NULL);
	stop_device(control, device);
	report((end - begin) / 1e9, cpu);
	return 0;
}
