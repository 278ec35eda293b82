/*
 * server.h - the helper process, and what a Go child of it finds.
 *
 * A constructor (server.c) runs ahead of the Go runtime in every program that
 * imports package helper. Without the mark in the environment it does nothing.
 * With a true mark the process becomes the helper: it serves its parent and never
 * returns to Go. In a child that is to run Go it returns, and the program boots.
 */
#ifndef RAWFORK_HELPER_SERVER_H
#define RAWFORK_HELPER_SERVER_H

#include "wire.h"

/* The mark: RAWFORK_HELPER=<descriptor>:<nonce in hexadecimal digits>. */
#define RF_MARK "RAWFORK_HELPER"

/* The helper's name in ps(1), and a child's until it goes on. */
#define RF_TITLE "rawfork-helper"

enum rf_role {
	RF_PROGRAM = 0, /* an ordinary start of the program */
	RF_CHILD,       /* a child with its task */
	RF_READY_CHILD, /* a child that waits for its task */
};

/* What this process is. */
enum rf_role rf_role(void);

/*
 * rf_task gives a child its task: for RF_CHILD at once, for RF_READY_CHILD it
 * waits. Returns 1; or 0 when the helper has ended, and the child with it; or
 * -errno. The working directory is set by then. The message is never freed: the
 * descriptors are the task's files.
 */
int rf_task(struct rf_message *task);

#endif
