/*
 * wire.h - what parent and helper say to each other.
 *
 * A message is a header and a body. It travels over a SOCK_SEQPACKET socket in
 * one packet, or, when the body is longer than RF_CHUNK, in several: the first
 * has the header, the beginning of the body and all descriptors, the others go on
 * with the body. Integers are in the machine's own order: both ends are the same
 * program on the same machine, and the version says so.
 *
 * Nothing in a message is trusted: counts and lengths are checked before use, and
 * a message that doesn't fit is answered by an error.
 */
#ifndef RAWFORK_HELPER_WIRE_H
#define RAWFORK_HELPER_WIRE_H

#include "start.h"

#include <stddef.h>
#include <stdint.h>

#define RF_MAGIC   0x6b726f66u /* "fork" */
#define RF_VERSION 7u
#define RF_CHUNK   (64u << 10)  /* body bytes in one packet */
#define RF_BODY    (32u << 20)  /* body bytes in one message */
#define RF_FDS     253u         /* SCM_MAX_FD of the kernel */
#define RF_NONCE   16u

enum rf_type {
	RF_HELLO = 1,  /* request: struct rf_hello, a memory file of a struct rf_born,
	                  and a second socket for requests; answered by RF_REPLY */
	RF_GO,         /* request: struct rf_go, a name, an environment */
	RF_EXEC,       /* request, over the second socket: struct rf_exec, a plan
	                  (internal/plan/plan.h), the cgroup that it asks for; answered
	                  in struct rf_born */
	RF_INHERIT,    /* right after it, for the child: struct rf_inherit, the
	                  descriptors that the plan speaks of */
	RF_REPLY = 16, /* answer: struct rf_reply */
	RF_PIDFD,      /* from the child of an RF_EXEC whose plan asks for a pidfd,
	                  before it executes: struct rf_reply, with the pidfd */
	RF_WAITING,    /* event: struct rf_reply; a ready child was made */
	RF_LOST,       /* event: struct rf_reply; a ready child died while it waited */
	RF_BOOTED,     /* from a ready child to the helper: Go runs. And from that to
	                  the parent: struct rf_reply */
};

struct rf_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint64_t id;     /* of the request; its answer has the same */
	uint32_t length; /* of the whole body */
	uint32_t nfds;   /* descriptors that come with the first packet */
};

struct rf_hello {
	uint8_t  nonce[RF_NONCE]; /* the one in the mark */
	uint32_t ready;           /* children to keep booted */
	uint32_t pad;
};

/*
 * The last child that was made for the parent, in memory that parent and helper share, by
 * the kernel before it runs, so that the parent knows of each when the helper is killed
 * before it could tell: the one for RF_GO or to be ready, and the answer to an RF_EXEC.
 *
 * The parent clears made when it is told of that child; the helper makes the next one only
 * when it has told of this one.
 *
 * Of an RF_EXEC the parent sets waits to what is in the id's low half, and waits on it as a
 * futex until it is another number: the kernel clears it when the child gives up the
 * helper's memory, by execve or by its end, and wakes the parent at once, who needs no word
 * of the helper.
 */
struct rf_born {
	uint64_t id;    /* of the RF_EXEC */
	int32_t pid;    /* its child's, or -1: not yet, or not at all */
	uint32_t waits; /* not 0 while the parent waits */
	struct rawfork_started started; /* its failure says why there is no program */
	int32_t made;   /* the pid of the child for RF_GO or to be ready; 0: the parent knows */
};

#define RF_GO_DIR  1u /* the last descriptor is the working directory */
#define RF_GO_ENV  2u /* an environment follows the name */
#define RF_GO_END  4u /* the child ends with the parent */

/* The body of RF_GO: this, name_len bytes, then env_len bytes of strings that
 * each end in a NUL byte. */
struct rf_go {
	uint32_t flags;
	uint32_t name_len;
	uint32_t env_len;
	uint32_t pad;
};

#define RF_LIMITS 16u

/* The body of RF_EXEC: this, then a plan. A plan's fds are here indices of the
 * descriptors that come with the RF_INHERIT, in their order, or RF_NOT_OPEN; but for the
 * cgroup's, which comes with this message. */
struct rf_exec {
	int32_t  pgid;      /* the caller's process group */
	uint32_t nfds;      /* of the plan's that come with RF_INHERIT */
	uint32_t set_nproc; /* 1: the caller's soft limit on processes is another */
	uint32_t pad;
	uint64_t nproc;     /* that limit */
};

#define RF_INHERIT_DIR    1u /* the last descriptor is the working directory */
#define RF_INHERIT_CANCEL 2u /* the child is to end */

/* What a child of the calling thread would have inherited from it, and the child of the
 * helper has not. It comes by itself, so that the helper is on its way meanwhile. */
struct rf_inherit {
	uint32_t flags;
	uint32_t set_limits; /* a bit for each of limits that the child sets */
	uint32_t umask;
	uint32_t pad;
	uint64_t mask;       /* blocked signals of the calling thread */
	uint64_t ignored;    /* ignored signals */
	uint64_t limits[RF_LIMITS][2]; /* soft, hard; by the kernel's numbers */
};

/* No process has this descriptor: whoever uses it gets EBADF. */
#define RF_NOT_OPEN 0x7fffffff

struct rf_reply {
	int32_t pid;   /* of the child, or -1; with an error, of one to be reaped */
	int32_t error; /* an errno, or 0 */
};

/* A message with its body, which the receiver frees by rf_message_free. */
struct rf_message {
	struct rf_header header;
	uint8_t *body;
	int      fds[RF_FDS];
};

/*
 * rf_receive waits for one message. Returns 1, or 0 at the end of the
 * connection, or -errno: -EBADMSG for a message that isn't one (its descriptors
 * are closed, and the header is left as far as it was readable, so that the
 * sender can be answered), -ENOMEM or -EMFILE when there was no room for it, or what
 * recvmsg(2) says.
 */
int rf_receive(int sock, struct rf_message *message);

/* rf_message_free frees the body and closes the descriptors. */
void rf_message_free(struct rf_message *message);

/*
 * rf_send sends one message. Returns 0 or -errno. A peer that is gone gives
 * -EPIPE; no signal is raised.
 */
int rf_send(int sock, const struct rf_header *header, const void *body, const int *fds);

/*
 * rf_go_check tells whether body is a well-formed RF_GO of that length with that
 * many descriptors. Returns 0 or -EBADMSG.
 */
int rf_go_check(const uint8_t *body, size_t length, uint32_t nfds);

/*
 * rf_exec_check does the same for RF_EXEC. body must be on a multiple of 8.
 */
int rf_exec_check(const uint8_t *body, size_t length, uint32_t nfds);

/* rf_exec_plan returns the plan in the body of an RF_EXEC, and its size. */
void *rf_exec_plan(uint8_t *body, size_t length, size_t *size);

#endif
