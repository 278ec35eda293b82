//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "wire.h"

#include "start.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union rf_control {
	struct cmsghdr header; /* for the alignment */
	char space[CMSG_SPACE(sizeof(int) * RF_FDS)];
};

static void close_all(const int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		close(fds[i]);
}

/*
 * Takes the descriptors out of a received control message. SCM_RIGHTS is the only
 * kind that the socket can carry; the kernel never delivers more than fit.
 */
static uint32_t take_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	uint32_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

static int ended(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static ssize_t receive_packet(int sock, struct iovec *vec, int vecs, int *fds, uint32_t *nfds, int *flags)
{
	union rf_control control;
	struct msghdr msg = {
		.msg_iov = vec, .msg_iovlen = vecs,
		.msg_control = &control, .msg_controllen = sizeof control,
	};
	ssize_t n;

	/* A peer that has died with something unread gives ECONNRESET once; what it had
	 * sent comes after that. */
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	if (!n && !ended(sock))
		n = -EBADMSG; /* an empty packet, which looks like the end */
	*nfds = take_fds(&msg, fds);
	*flags = msg.msg_flags;
	return n;
}

static int header_ok(const struct rf_header *h, size_t packet, uint32_t nfds)
{
	size_t first = h->length < RF_CHUNK ? h->length : RF_CHUNK;

	return h->magic == RF_MAGIC && h->version == RF_VERSION && h->length <= RF_BODY &&
	       h->nfds == nfds && packet == sizeof *h + first;
}

/* Receives the packets that go on with the body, from the byte got. Without a body
 * they are thrown away, so that the next packet is the next message. */
static int receive_rest(int sock, struct rf_message *m, size_t got)
{
	uint8_t scratch[RF_CHUNK];

	while (got < m->header.length) {
		size_t want = m->header.length - got;
		struct iovec vec = { m->body ? m->body + got : scratch, want < RF_CHUNK ? want : RF_CHUNK };
		int fds[RF_FDS], flags;
		uint32_t nfds;
		ssize_t n = receive_packet(sock, &vec, 1, fds, &nfds, &flags);

		if (n <= 0 && n != -EBADMSG)
			return n < 0 ? (int)n : -ECONNRESET;
		close_all(fds, nfds);
		if (n < 0 || nfds || (size_t)n != vec.iov_len || flags & (MSG_TRUNC | MSG_CTRUNC))
			return -EBADMSG;
		got += n;
	}
	return 0;
}

int rf_receive(int sock, struct rf_message *m)
{
	uint8_t first[RF_CHUNK];
	struct iovec vec[2] = { { &m->header, sizeof m->header }, { first, sizeof first } };
	uint32_t nfds;
	int flags, error = 0, rest;
	ssize_t n;

	memset(&m->header, 0, sizeof m->header);
	m->body = NULL;
	n = receive_packet(sock, vec, 2, m->fds, &nfds, &flags);
	if (n <= 0 && n != -EBADMSG)
		return (int)n;
	/* The kernel delivers what there is room for in the descriptor table. */
	if (flags & MSG_CTRUNC) {
		error = -EMFILE;
		close_all(m->fds, nfds);
		nfds = m->header.nfds;
	}
	if (n < 0 || flags & MSG_TRUNC || (size_t)n < sizeof m->header || !header_ok(&m->header, n, nfds)) {
		if (!error)
			close_all(m->fds, nfds);
		m->header.nfds = 0;
		return -EBADMSG;
	}
	if (error)
		m->header.nfds = 0;
	/* One byte more, a NUL: what ends the body ends its last string. */
	else if (!(m->body = calloc(1, (size_t)m->header.length + 1)))
		error = -ENOMEM;
	else
		memcpy(m->body, first, n - sizeof m->header);
	rest = receive_rest(sock, m, n - sizeof m->header);
	if (error || rest) {
		rf_message_free(m);
		return rest ? rest : error;
	}
	return 1;
}

void rf_message_free(struct rf_message *m)
{
	free(m->body);
	m->body = NULL;
	close_all(m->fds, m->header.nfds);
	m->header.nfds = 0;
}

static int send_packet(int sock, struct iovec *vec, int vecs, const int *fds, uint32_t nfds)
{
	union rf_control control;
	struct msghdr msg = { .msg_iov = vec, .msg_iovlen = vecs };
	ssize_t n;

	if (nfds) {
		memset(&control, 0, sizeof control);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int rf_send(int sock, const struct rf_header *h, const void *body, const int *fds)
{
	size_t sent = h->length < RF_CHUNK ? h->length : RF_CHUNK;
	struct iovec vec[2] = { { (void *)h, sizeof *h }, { (void *)body, sent } };
	int error = send_packet(sock, vec, 2, fds, h->nfds);

	while (!error && sent < h->length) {
		size_t left = h->length - sent;

		vec[0].iov_base = (uint8_t *)body + sent;
		vec[0].iov_len = left < RF_CHUNK ? left : RF_CHUNK;
		sent += vec[0].iov_len;
		error = send_packet(sock, vec, 1, NULL, 0);
	}
	return error;
}

int rf_go_check(const uint8_t *body, size_t length, uint32_t nfds)
{
	struct rf_go go;

	if (length < sizeof go)
		return -EBADMSG;
	memcpy(&go, body, sizeof go);
	length -= sizeof go;
	if (go.flags & ~(RF_GO_DIR | RF_GO_ENV | RF_GO_END) || go.pad || !go.name_len ||
	    go.name_len > length || go.env_len != length - go.name_len)
		return -EBADMSG;
	if ((go.flags & RF_GO_DIR && !nfds) || (!(go.flags & RF_GO_ENV) && go.env_len))
		return -EBADMSG;
	if (memchr(body + sizeof go, 0, go.name_len))
		return -EBADMSG;
	if (go.env_len && body[sizeof go + length - 1] != 0)
		return -EBADMSG;
	return 0;
}

void *rf_exec_plan(uint8_t *body, size_t length, size_t *size)
{
	*size = length - sizeof(struct rf_exec);
	return body + sizeof(struct rf_exec);
}

int rf_exec_check(const uint8_t *body, size_t length, uint32_t nfds)
{
	const struct rawfork_plan *plan = (const void *)(body + sizeof(struct rf_exec));
	const int32_t *fds = (const void *)(plan + 1);
	struct rf_exec exec;

	if (length < sizeof exec)
		return -EBADMSG;
	memcpy(&exec, body, sizeof exec);
	if (exec.pgid < 0 || exec.nfds > RF_FDS || exec.set_nproc > 1 || exec.pad)
		return -EBADMSG;
	if (rawfork_plan_check(plan, length - sizeof exec) || plan->flags & RAWFORK_PTRACE ||
	    plan->cloneflags & RAWFORK_CLONE_SHARED || nfds > !!(plan->flags & RAWFORK_CGROUP))
		return -EBADMSG;
	for (uint32_t i = 0; i < plan->nfds; i++)
		if (fds[i] != RF_NOT_OPEN && (fds[i] < 0 || (uint32_t)fds[i] >= exec.nfds))
			return -EBADMSG;
	return 0;
}
