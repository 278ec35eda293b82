//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "server.h"

#include "spawn.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bounded, so that children that can't boot don't make the helper spin. */
#define BOOT_FAILURES 3

static struct {
	int parent;         /* the socket */
	int starts;         /* the one for programs */
	volatile struct rf_born *born; /* what the parent knows of a program's start */
	int parent_pidfd;   /* ends when the parent does, whoever holds the socket */
	uint32_t ready;     /* children to keep waiting */
	int boot_failures;  /* since the last child that booted, or the last request */
	int refill_paused;  /* a fork failed: not before the next request */
	struct rf_waiting *waiting; /* children that wait for a task */
	size_t waiting_n;
	int *ending;        /* pidfds of the children that end with the parent */
	size_t ending_n;
} helper;

static void send_reply(uint16_t type, uint64_t id, struct rf_reply body)
{
	struct rf_header h = { RF_MAGIC, RF_VERSION, type, id, sizeof body, 0 };

	/* If the parent is gone the loop sees it. */
	rf_send(helper.parent, &h, &body, NULL);
}

static void answer(uint64_t id, pid_t pid, int error)
{
	send_reply(RF_REPLY, id, (struct rf_reply){ .pid = pid, .error = error });
}

/* What the parent hasn't asked for. */
static void tell(uint16_t event, pid_t pid)
{
	send_reply(event, 0, (struct rf_reply){ .pid = pid });
}

/* The parent is gone, or wants no helper any more: so end what should end. */
static void end(void)
{
	for (size_t i = 0; i < helper.ending_n; i++)
		syscall(SYS_pidfd_send_signal, helper.ending[i], SIGKILL, NULL, 0);
	_exit(0); /* closes the sockets of the waiting children, who end by that */
}

static int end_with_parent(pid_t pid)
{
	int *grown = realloc(helper.ending, (helper.ending_n + 1) * sizeof *grown);
	int fd;

	if (!grown)
		return ENOMEM;
	helper.ending = grown;
	fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH ? 0 : errno;
	helper.ending[helper.ending_n++] = fd;
	return 0;
}

static void drop_waiting(size_t i)
{
	close(helper.waiting[i].sock);
	helper.waiting[i] = helper.waiting[--helper.waiting_n];
}

/* A packet from a waiting child, or its end. */
static void hear_waiting(size_t i)
{
	struct rf_waiting *w = &helper.waiting[i];
	struct rf_message m;

	if (rf_receive(w->sock, &m) > 0) {
		if (m.header.type == RF_BOOTED) {
			w->booted = 1;
			helper.boot_failures = 0;
			tell(RF_BOOTED, w->pid);
		}
		rf_message_free(&m);
		return;
	}
	if (!w->booted)
		helper.boot_failures++;
	tell(RF_LOST, w->pid);
	drop_waiting(i);
}

/* Returns 1 in a new child, which leaves the loop. */
static int refill(void)
{
	while (helper.waiting_n < helper.ready && !helper.refill_paused &&
	       helper.boot_failures < BOOT_FAILURES) {
		struct rf_waiting *grown, w;
		int r;

		grown = realloc(helper.waiting, (helper.waiting_n + 1) * sizeof *grown);
		if (grown)
			helper.waiting = grown;
		r = grown ? rf_spawn_ready(&w) : -ENOMEM;
		if (r > 0)
			return 1;
		if (r < 0) {
			helper.refill_paused = 1;
			break;
		}
		helper.waiting[helper.waiting_n++] = w;
		tell(RF_WAITING, w.pid);
	}
	return 0;
}

/* Hands the task to a child that waits. Returns its pid, or 0 if none took it. */
static pid_t hand_over(struct rf_message *m)
{
	for (size_t i = 0; i < helper.waiting_n; ) {
		pid_t pid = helper.waiting[i].pid;

		if (!helper.waiting[i].booted) {
			i++;
			continue;
		}
		if (!rf_send(helper.waiting[i].sock, &m->header, m->body, m->fds)) {
			drop_waiting(i);
			return pid;
		}
		/* It may be stopped and have the half of a task: it must not live on. */
		kill(pid, SIGKILL);
		tell(RF_LOST, pid);
		drop_waiting(i);
	}
	return 0;
}

/* Returns 1 in a new child, which leaves the loop. */
static int serve_go(struct rf_message *m)
{
	struct rf_go body;
	int go = -1, error = -rf_go_check(m->body, m->header.length, m->header.nfds);
	pid_t pid;

	if (error) {
		answer(m->header.id, -1, error);
		return 0;
	}
	pid = hand_over(m);
	if (!pid)
		pid = rf_spawn_go(m, &go);
	if (!pid)
		return 1;
	if (pid < 0) {
		answer(m->header.id, -1, -pid);
		return 0;
	}
	memcpy(&body, m->body, sizeof body);
	if (body.flags & RF_GO_END)
		error = end_with_parent(pid);
	if (error) /* the promise can't be kept, so there is no child */
		kill(pid, SIGKILL);
	answer(m->header.id, pid, error);
	if (go >= 0)
		rf_spawn_release(go);
	return 0;
}

/* Returns 1 in a new child, which leaves the loop. */
static int serve(void)
{
	struct rf_message m;
	int r = rf_receive(helper.parent, &m);

	if (r == 0)
		end();
	helper.refill_paused = 0;
	helper.boot_failures = 0;
	if (r < 0) {
		if (r != -EBADMSG && r != -ENOMEM && r != -EMFILE)
			end();
		answer(m.header.id, -1, -r);
		return 0;
	}
	if (m.header.type != RF_GO)
		answer(m.header.id, -1, ENOSYS);
	else if (serve_go(&m))
		return 1;
	rf_message_free(&m);
	return 0;
}

static void refuse_start(uint64_t id, int error)
{
	helper.born->pid = -1;
	helper.born->id = id;
	helper.born->started.failure = (struct rawfork_failure){ 0, error };
	rf_born_end(helper.born, id);
}

static void serve_start(void)
{
	struct rf_message m;
	int r = rf_receive(helper.starts, &m);

	if (r == 0)
		end();
	helper.refill_paused = 0;
	helper.boot_failures = 0;
	if (r > 0 && m.header.type == RF_EXEC)
		r = rf_exec_check(m.body, m.header.length, m.header.nfds);
	else if (r > 0) /* of a request that was refused, when it is RF_INHERIT */
		r = m.header.type == RF_INHERIT ? 0 : -ENOSYS;
	else if (r != -EBADMSG && r != -ENOMEM && r != -EMFILE)
		end();
	if (r < 0)
		refuse_start(m.header.id, -r);
	else if (m.header.type == RF_EXEC)
		rf_spawn_exec(&m, helper.starts, helper.born);
	rf_message_free(&m);
}

/* What poll_set begins with; the children's follow. */
enum { PARENT, PARENT_PIDFD, STARTS, FIXED };

/* The parent's sockets and pidfd, the waiting children, the ending children. */
static struct pollfd *poll_set(size_t *n)
{
	static struct pollfd *set;
	struct pollfd *grown;

	*n = FIXED + helper.waiting_n + helper.ending_n;
	grown = realloc(set, *n * sizeof *set);
	if (!grown)
		return NULL;
	set = grown;
	set[PARENT] = (struct pollfd){ .fd = helper.parent, .events = POLLIN };
	set[PARENT_PIDFD] = (struct pollfd){ .fd = helper.parent_pidfd, .events = POLLIN };
	set[STARTS] = (struct pollfd){ .fd = helper.starts, .events = POLLIN };
	for (size_t i = 0; i < helper.waiting_n; i++)
		set[FIXED + i] = (struct pollfd){ .fd = helper.waiting[i].sock, .events = POLLIN };
	for (size_t i = 0; i < helper.ending_n; i++)
		set[FIXED + helper.waiting_n + i] =
			(struct pollfd){ .fd = helper.ending[i], .events = POLLIN };
	return set;
}

/* Downwards, since what is dropped is replaced by the last. */
static void hear_children(const struct pollfd *set)
{
	size_t waiting = helper.waiting_n;

	for (size_t i = helper.ending_n; i-- > 0; )
		if (set[FIXED + waiting + i].revents) {
			close(helper.ending[i]);
			helper.ending[i] = helper.ending[--helper.ending_n];
		}
	for (size_t i = waiting; i-- > 0; )
		if (set[FIXED + i].revents)
			hear_waiting(i);
}

/* Serves until the parent ends; returns in a Go child only. */
static void loop(void)
{
	for (;;) {
		struct pollfd *set;
		int asked, ended;
		size_t n;

		if (refill())
			return;
		set = poll_set(&n);
		if (!set)
			end();
		if (poll(set, n, -1) < 0)
			continue;
		hear_children(set);
		asked = (set[PARENT].revents | set[STARTS].revents) & POLLIN;
		ended = set[PARENT].revents || set[STARTS].revents || set[PARENT_PIDFD].revents;
		if (set[PARENT].revents & POLLIN && serve())
			return;
		if (set[STARTS].revents & POLLIN)
			serve_start();
		if (ended && !asked) /* what was asked for before is served */
			end();
	}
}

void rf_helper_main(int sock, int starts, int parent_pidfd, volatile struct rf_born *born,
		    uint64_t hello_id, uint32_t ready)
{
#ifdef M_MMAP_THRESHOLD
	/* Else the memory of the largest message so far would be kept. */
	mallopt(M_MMAP_THRESHOLD, RF_CHUNK);
#endif
	helper.parent = sock;
	helper.starts = starts;
	helper.parent_pidfd = parent_pidfd;
	helper.born = born;
	helper.ready = ready;
	answer(hello_id, getpid(), 0);
	loop();
}
