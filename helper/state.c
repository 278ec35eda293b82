//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct text {
	char *at;
	size_t left;
};

/* took accounts for n bytes of text. When n is negative it fails with errno, but for
 * what isn't there and what may not be seen: that is no text. */
static int took(struct text *t, ssize_t n)
{
	if (n < 0)
		return errno == ENOENT || errno == EACCES ? took(t, 0) : -errno;
	if ((size_t)n >= t->left)
		return -ERANGE;
	t->at[n] = 0;
	t->at += n + 1;
	t->left -= n + 1;
	return 0;
}

/* These files are one record each, which the kernel gives as a whole. */
static int take_file(struct text *t, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), error;
	ssize_t n;

	if (fd < 0)
		return took(t, -1);
	while ((n = read(fd, t->at, t->left)) < 0 && errno == EINTR)
		;
	error = errno;
	close(fd);
	errno = error;
	return took(t, n);
}

static int take_root(struct text *t, int dir)
{
	struct stat root;

	if (fstatat(dir, "root", &root, 0) < 0)
		return took(t, -1);
	return took(t, snprintf(t->at, t->left, "%llu:%llu", (unsigned long long)root.st_dev,
				(unsigned long long)root.st_ino));
}

static int take_namespaces(struct text *t, int dir)
{
	static const char *const names[RF_NAMESPACES] = {
		"cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts",
	};
	int ns = openat(dir, "ns", O_PATH | O_DIRECTORY | O_CLOEXEC), error = 0;

	for (int i = 0; i < RF_NAMESPACES && !error; i++)
		error = took(t, ns < 0 ? 0 : readlinkat(ns, names[i], t->at, t->left));
	if (ns >= 0)
		close(ns);
	return error;
}

int rf_limits_read(int32_t pid, uint64_t limits[RF_LIMITS][2])
{
	for (long i = 0; i < (long)RF_LIMITS; i++)
		if (syscall(SYS_prlimit64, (long)pid, i, NULL, limits[i]))
			return -errno;
	return 0;
}

int rf_state_read(int32_t pid, char *text, size_t size)
{
	struct text t = { text, size };
	char path[32] = "/proc/thread-self";
	int dir, error;

	if (pid)
		snprintf(path, sizeof path, "/proc/%d", pid);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	(void)((error = take_file(&t, dir, "status")) || (error = take_file(&t, dir, "stat")) ||
	       (error = take_file(&t, dir, "limits")) || (error = take_file(&t, dir, "cgroup")) ||
	       (error = take_root(&t, dir)) ||
	       (error = take_namespaces(&t, dir)));
	close(dir);
	return error ? error : (int)(size - t.left);
}
