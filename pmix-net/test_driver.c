#include <config.h>

#include "test_driver_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* The guest's memory is one memfd: all rings, then what is sent, then what is
 * received. For the guest it begins at GPA_BASE, so that no offset is taken
 * for an address, and with conf.regions each part has a hole before it. */

#define GPA_BASE    0x40000000ull
#define GPA_HOLE    0x100000ull
#define TX_HEADROOM (64 - DRIVER_HDR) /* so that frames are aligned */

/* -- memory --------------------------------------------------------------- */

static struct dring_conf ring_conf(const struct driver_conf *conf,
				   unsigned int i)
{
	bool tx = i % 2;

	return (struct dring_conf){
		.num = conf->num,
		.pieces = tx ? conf->pieces : conf->rx_pieces,
		.indirect = conf->indirect,
		.writable = !tx,
		.headroom = tx ? TX_HEADROOM : 0,
		.bytes = tx ? conf->tx_bytes + DRIVER_HDR : conf->rx_bytes,
	};
}

/* Bytes of the three parts. */
static void part_sizes(const struct driver *d, size_t parts[3])
{
	memset(parts, 0, 3 * sizeof(parts[0]));
	for (unsigned int i = 0; i < driver_n_rings(d); i++) {
		struct dring_conf c = ring_conf(&d->conf, i);

		parts[0] += dring_ring_bytes(&c);
		parts[i % 2 ? 1 : 2] += dring_buffer_bytes(&c);
	}
}

static void add_region(struct driver *d, size_t offset, size_t bytes)
{
	d->regions[d->n_regions] = (struct fe_region){
		.gpa = GPA_BASE + offset + d->n_regions * GPA_HOLE,
		.bytes = bytes,
		.user = (uintptr_t)d->memory + offset,
		.offset = offset,
	};
	d->n_regions++;
}

static int map_memory(struct driver *d, const size_t parts[3])
{
	size_t at = 0;

	d->memory_bytes = parts[0] + parts[1] + parts[2];
	d->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (d->memfd < 0 || ftruncate(d->memfd, (off_t)d->memory_bytes) < 0 ||
	    (!d->conf.unsealed &&
	     fcntl(d->memfd, F_ADD_SEALS,
		   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
		return -errno;
	d->memory = mmap(NULL, d->memory_bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED, d->memfd, 0);
	if (d->memory == MAP_FAILED) {
		d->memory = NULL;
		return -errno;
	}
	if (!d->conf.regions)
		add_region(d, 0, d->memory_bytes);
	for (int i = 0; i < 3 && d->conf.regions; i++) {
		add_region(d, at, parts[i]);
		at += parts[i];
	}
	return 0;
}

uint64_t driver_gpa(const struct driver *d, const void *p)
{
	const struct fe_region *r = d->regions;
	uint64_t user = (uintptr_t)p;

	while (user - r->user >= r->bytes) {
		r++;
		assert(r < d->regions + d->n_regions);
	}
	return user - r->user + r->gpa;
}

static uint64_t gpa(const void *p, const void *arg)
{
	return driver_gpa(arg, p);
}

static int init_rings(struct driver *d, const size_t parts[3])
{
	uint8_t *rings = d->memory, *tx = rings + parts[0], *rx = tx + parts[1];
	int r;

	for (unsigned int i = 0; i < driver_n_rings(d); i++) {
		struct dring_conf c = ring_conf(&d->conf, i);
		uint8_t **buffers = i % 2 ? &tx : &rx;

		r = dring_init(&d->rings[i], &c, rings, *buffers);
		if (r < 0)
			return r;
		rings += dring_ring_bytes(&c);
		*buffers += dring_buffer_bytes(&c);
		d->rings[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		d->rings[i].call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (d->rings[i].kick < 0 || d->rings[i].call < 0)
			return -errno;
	}
	return 0;
}

void driver_reset(struct driver *d)
{
	bool event_idx = d->features & DRIVER_BIT(VIRTIO_RING_F_EVENT_IDX);
	bool indirect = d->conf.indirect &&
			(d->features & DRIVER_BIT(VIRTIO_RING_F_INDIRECT_DESC));

	for (unsigned int i = 0; i < driver_n_rings(d); i++) {
		struct dring *q = &d->rings[i];

		dring_reset(q, event_idx, indirect, gpa, d);
		d->base[i] = 0;
		while (i % 2 == 0 && dring_free_slot(q) >= 0)
			dring_offer_free(q);
		dring_publish(q);
	}
}

/* -- life ----------------------------------------------------------------- */

static void set_defaults(struct driver_conf *c)
{
	c->pairs = c->pairs ? c->pairs : 1;
	c->num = c->num ? c->num : 256;
	c->tx_bytes = c->tx_bytes ? c->tx_bytes : 2048;
	c->rx_bytes = c->rx_bytes ? c->rx_bytes : 2048;
	c->pieces = c->pieces ? c->pieces : 1;
	c->rx_pieces = c->rx_pieces ? c->rx_pieces : 1;
	assert(c->pairs <= DRIVER_PAIRS_MAX && c->pieces <= DRIVER_PIECES_MAX);
	assert(c->num <= 32768 && (c->num & (c->num - 1)) == 0);
	assert(c->pieces <= c->num && c->rx_pieces <= c->num);
}

int driver_new(int fd, const struct driver_conf *conf, struct driver **ret,
	       struct errmsg *err)
{
	struct driver *d = calloc(1, sizeof(*d));
	size_t parts[3];
	int r;

	if (!d) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "driver");
	}
	d->conf = *conf;
	set_defaults(&d->conf);
	d->fe = (struct fe){ .fd = fd, .pump = conf->pump, .arg = conf->arg };
	d->memfd = -1;
	d->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	part_sizes(d, parts);
	r = d->err_fd < 0 ? -errno : map_memory(d, parts);
	if (r == 0)
		r = init_rings(d, parts);
	if (r < 0) {
		driver_free(d);
		return errmsg_set(err, r, "memory and rings of a guest");
	}
	driver_reset(d);
	*ret = d;
	return 0;
}

void driver_free(struct driver *d)
{
	if (!d)
		return;
	for (unsigned int i = 0; i < driver_n_rings(d); i++)
		dring_done(&d->rings[i]);
	if (d->memory)
		munmap(d->memory, d->memory_bytes);
	if (d->memfd >= 0)
		close(d->memfd);
	if (d->err_fd >= 0)
		close(d->err_fd);
	close(d->fe.fd);
	free(d);
}

/* -- behind its back ------------------------------------------------------ */

struct fe *driver_fe(struct driver *d)
{
	return &d->fe;
}

struct vring *driver_ring(struct driver *d, unsigned int ring)
{
	return &d->rings[ring].ring;
}

uint64_t driver_features(const struct driver *d)
{
	return d->features;
}

uint64_t driver_protocol(const struct driver *d)
{
	return d->protocol;
}

int driver_memory_fd(const struct driver *d)
{
	return d->memfd;
}

size_t driver_regions(const struct driver *d, const struct fe_region **ret)
{
	*ret = d->regions;
	return d->n_regions;
}

uint8_t *driver_buffer(struct driver *d, unsigned int ring, unsigned int slot)
{
	return dring_buffer(&d->rings[ring], slot);
}
