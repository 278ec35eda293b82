//go:build linux && amd64

/*
 * descriptors.c - what the child can't share with its parent: epoll sets, and the
 * network sockets that it is to be cut off from.
 *
 * fork(2) gives the child the parent's epoll instances themselves. Go's poller in
 * the child would take the parent's events and edit its set. So every epoll set is
 * read before the fork, from /proc, and made anew in the child under its numbers.
 * The runtime's eventfd, by which it wakes its poller, is made anew as well.
 */

#define _GNU_SOURCE
#include "held.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DESCRIPTORS (1 << 20)
#define MAX_SETS 1024
#define WAY_LIMIT 20 /* ms */

static int *descriptors;
static int descriptor_count;
static unsigned char *no_set; /* for each number: 1 when it is watched and no epoll set */

static struct set {
	int fd, flags;
} sets[MAX_SETS];
static int set_count;

static struct watch {
	int set; /* an epoll descriptor */
	int fd;
	uint32_t events;
	uint64_t data;
} *watches;
static int watch_count;

/* The registration of the runtime's wake-up eventfd. fd -1: not found yet. */
static struct watch wake = { .fd = -1, .set = -1 };

static int stranger; /* a descriptor that is in no epoll set */
static uint64_t anonymous; /* its inode, which is that of epoll sets and others */

static int add_watch(const char *line)
{
	struct watch *w = &watches[watch_count];
	const char *at = proc_after(line, "tfd:");
	uint64_t fd, events, inode;

	if (at == NULL)
		return 0;
	if (watch_count == MAX_DESCRIPTORS)
		return -EMFILE;
	at = proc_after(proc_number(at, 10, &fd), "events:");
	if (at != NULL)
		at = proc_after(proc_number(at, 16, &events), "data:");
	if (at == NULL)
		return -ENOSYS;
	at = proc_after(proc_number(at, 16, &w->data), "ino:");
	w->set = sets[set_count - 1].fd;
	w->fd = (int)fd;
	w->events = (uint32_t)events;
	watch_count++;
	if (at != NULL && fd < MAX_DESCRIPTORS && *proc_number(at, 16, &inode) != '?')
		no_set[fd] = inode != anonymous;
	return 0;
}

static int read_set(int fd)
{
	int file;

	if (set_count == MAX_SETS)
		return -EMFILE;
	sets[set_count].fd = fd;
	sets[set_count++].flags = (int)raw(SYS_fcntl, fd, F_GETFD);
	file = proc_open("/proc/self/fdinfo/", fd);
	return file < 0 ? file : proc_each_line(file, add_watch);
}

/* look_at lists a descriptor, and reads what it watches if it is an epoll set. */
static int look_at(int fd)
{
	long answer;

	if (fd < MAX_DESCRIPTORS && no_set[fd]) {
		answer = -EINVAL;
	} else {
		/* An epoll set says that a stranger isn't there, another file EINVAL. */
		answer = raw(SYS_epoll_ctl, fd, EPOLL_CTL_DEL, stranger, NULL);
		if (answer == -EBADF)
			return 0;
	}
	if (descriptor_count == MAX_DESCRIPTORS)
		return -EMFILE;
	descriptors[descriptor_count++] = fd;
	return answer == -ENOENT && fd != wake.set ? read_set(fd) : 0;
}

static void forget_all(void)
{
	for (int i = 0; i < watch_count; i++)
		if (watches[i].fd < MAX_DESCRIPTORS)
			no_set[watches[i].fd] = 0;
	descriptor_count = set_count = watch_count = 0;
}

/*
 * read_in_order looks at the numbers from 0 on until all that are open are found.
 * It gives up when many are not: /proc/self/fd lists those that are, but making up
 * the list takes longer than all the rest.
 */
static int read_in_order(int open)
{
	int err = 0, misses = open - watch_count + 64;

	for (int fd = 0; err == 0 && descriptor_count < open && misses > 0; fd++) {
		int before = descriptor_count;

		err = look_at(fd);
		misses -= descriptor_count == before;
	}
	return err;
}

/* read_all lists all descriptors and what the epoll sets among them watch. */
static int read_all(void)
{
	struct stat status;
	int err = 0;

	forget_all();
	if (wake.fd >= 0) /* the set that watches most, so that few are to be asked */
		err = read_set(wake.set);
	/* Since Linux 6.2 the size is the count; before it is 0. */
	if (err == 0)
		err = (int)raw(SYS_stat, "/proc/self/fd", &status);
	if (err == 0)
		err = read_in_order((int)status.st_size);
	if (err == 0 && (descriptor_count == 0 || descriptor_count < status.st_size)) {
		forget_all();
		if (wake.fd >= 0)
			err = read_set(wake.set);
		if (err == 0)
			err = proc_each_number("/proc/self/fd", 1, look_at);
	}
	return err;
}

static int is_wake(const struct watch *w)
{
	return w->set == wake.set && w->fd == wake.fd && w->data == wake.data;
}

/* descriptors_read is called while all threads are held. */
int descriptors_read(const char **why, struct forkall_stats *stats)
{
	int err = read_all(), found = 0;

	stats->descriptors = (uint32_t)descriptor_count;
	stats->watched = (uint32_t)watch_count;
	if (err != 0) {
		*why = "the descriptors can't be read from /proc";
		return err;
	}
	for (int i = 0; i < watch_count; i++)
		found += is_wake(&watches[i]);
	if (found == 1)
		return 0;
	*why = "the runtime's poller isn't where it was";
	return -ENOSYS;
}

static int is_eventfd(int fd)
{
	char path[40], target[32];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof target - 1);
	target[n > 0 ? n : 0] = 0;
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

/*
 * find_wake looks for the runtime's wake-up eventfd: its data is the address of a
 * word that holds its number. What else Go watches has a tag in the address's low
 * bits and the address in the high ones.
 */
static int find_wake(const char **why)
{
	int found = 0;

	for (int i = 0; i < watch_count; i++) {
		uint64_t number;

		if (runtime_read(watches[i].data, &number, sizeof number) == 0 &&
		    number == (uint64_t)watches[i].fd && is_eventfd(watches[i].fd)) {
			wake = watches[i];
			found++;
		}
	}
	if (found == 1)
		return 0;
	wake.fd = wake.set = -1;
	*why = "the poller of this Go runtime is not found";
	return -ENOSYS;
}

/*
 * descriptors_prepare is called before threads are held, and descriptors_finish
 * after. The first time it looks for the poller, which must be running.
 */
int descriptors_prepare(const char **why)
{
	struct stat status;
	int err = 0;

	if (descriptors == NULL)
		descriptors = proc_reserve(MAX_DESCRIPTORS * sizeof *descriptors);
	if (watches == NULL)
		watches = proc_reserve(MAX_DESCRIPTORS * sizeof *watches);
	if (no_set == NULL)
		no_set = proc_reserve(MAX_DESCRIPTORS);
	if (descriptors == NULL || watches == NULL || no_set == NULL)
		return -ENOMEM;
	stranger = eventfd(0, EFD_CLOEXEC);
	if (stranger < 0)
		return -errno;
	fstat(stranger, &status);
	anonymous = status.st_ino;
	if (wake.fd < 0) {
		err = read_all();
		if (err == 0)
			err = find_wake(why);
	}
	if (err != 0)
		descriptors_finish();
	return err;
}

void descriptors_finish(void)
{
	if (stranger >= 0)
		raw(SYS_close, stranger);
	stranger = -1;
}

/*
 * descriptors_give_way has the child wait until its parent's caller goes on, which it
 * says by descriptors_make_way: while the child makes its threads there would be many
 * that it had to wait for. It is a courtesy, and so has a limit: a parent can be killed.
 */
void descriptors_give_way(void)
{
	struct pollfd event = { .fd = stranger, .events = POLLIN };

	raw(SYS_poll, &event, 1, WAY_LIMIT);
}

void descriptors_make_way(void)
{
	uint64_t one = 1;

	raw(SYS_write, stranger, &one, sizeof one);
}

static int option(int fd, int name)
{
	int value = 0;
	socklen_t size = sizeof value;

	return raw(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

/* put has the number fd mean the file of with, close-on-exec or not as before. */
static void put(int with, int fd)
{
	int flags = (int)raw(SYS_fcntl, fd, F_GETFD);

	if (raw(SYS_dup3, with, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		raw(SYS_exit_group, FORKALL_UNMADE);
}

/* put_new is put with a file that was made for it alone. */
static void put_new(int with, int fd)
{
	put(with, fd);
	raw(SYS_close, with);
}

static void cut_off(const struct forkall_cut *cut, int fd)
{
	int domain = option(fd, SO_DOMAIN), with;

	if (domain != AF_INET && domain != AF_INET6)
		return;
	if (option(fd, SO_TYPE) != SOCK_STREAM)
		with = cut->datagram;
	else if (option(fd, SO_ACCEPTCONN) == 1)
		with = cut->listener;
	else
		with = cut->stream;
	if (with >= 0 && with != fd)
		put(with, fd);
}

/* descriptors_rebuild is called in the child, while it has one thread. */
void descriptors_rebuild(const struct forkall_cut *cut)
{
	descriptors_finish(); /* the one descriptor more that this takes may be the last */
	if (cut->listener >= 0 || cut->stream >= 0 || cut->datagram >= 0)
		for (int i = 0; i < descriptor_count; i++)
			cut_off(cut, descriptors[i]);
	/* Its first value makes the poller look up, should a wake-up have been on its way. */
	put_new((int)raw(SYS_eventfd2, 1, EFD_CLOEXEC | EFD_NONBLOCK), wake.fd);
	for (int i = 0; i < set_count; i++)
		put_new((int)raw(SYS_epoll_create1, EPOLL_CLOEXEC), sets[i].fd);
	for (int i = 0; i < watch_count; i++) {
		struct epoll_event event = { .events = watches[i].events, .data.u64 = watches[i].data };

		/* It fails for a number that was closed and whose file lives on elsewhere. */
		raw(SYS_epoll_ctl, watches[i].set, EPOLL_CTL_ADD, watches[i].fd, &event);
	}
}
