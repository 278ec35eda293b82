//go:build linux && amd64

/* proc.c - /proc of this process, read without libc while threads are held. */

#include "held.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/*
 * proc_reserve returns zeroed memory that takes none until it is used, so that
 * what is read while threads are held needs no allocator. NULL: there is none.
 */
void *proc_reserve(size_t size)
{
	long at = raw(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at < 0 ? NULL : (void *)at;
}

struct entry { /* linux_dirent64 */
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/*
 * proc_each_number calls use with each name in the directory that is a number. In
 * one of descriptors, not with that by which the directory is read; in one of threads
 * that number is a thread's like any other. It stops at the first result that isn't 0,
 * and returns that, or -errno, or 0.
 */
int proc_each_number(const char *directory, int of_descriptors, int (*use)(int number))
{
	static char buffer[1 << 15] __attribute__((aligned(8)));
	int own = (int)raw(SYS_open, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = own < 0 ? own : 0;
	long length = 0;

	while (result == 0 && (length = raw(SYS_getdents64, own, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < length && result == 0;) {
			struct entry *entry = (struct entry *)(buffer + at);
			uint64_t number;

			at += entry->length;
			if (*proc_number(entry->name, 10, &number) == 0 && !(of_descriptors && (int)number == own))
				result = use((int)number);
		}
	if (own >= 0)
		raw(SYS_close, own);
	return result != 0 ? result : (int)length;
}

/* proc_count_tasks tells how many threads the kernel counts in this process. */
int proc_count_tasks(void)
{
	struct stat status;
	long err = raw(SYS_stat, "/proc/self/task", &status);

	return err != 0 ? (int)err : (int)status.st_nlink - 2;
}

/* proc_open opens the file of that number for reading. */
int proc_open(const char *directory, int number)
{
	char path[48], digits[12];
	int at = 0, n = 0;

	for (; directory[at] != 0; at++)
		path[at] = directory[at];
	do
		digits[n++] = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	while (n > 0)
		path[at++] = digits[--n];
	path[at] = 0;
	return (int)raw(SYS_open, path, O_RDONLY | O_CLOEXEC);
}

/*
 * proc_each_line calls use with each line of fd, without its end, and closes fd.
 * It stops at the first result that isn't 0, and returns that, or -errno, or 0.
 */
int proc_each_line(int fd, int (*use)(const char *line))
{
	static char buffer[1 << 16];
	size_t kept = 0, start;
	int result = 0;
	long got;

	while ((got = raw(SYS_read, fd, buffer + kept, sizeof buffer - kept)) > 0 && result == 0) {
		kept += (size_t)got;
		start = 0;
		for (size_t at = 0; at < kept && result == 0; at++)
			if (buffer[at] == '\n') {
				buffer[at] = 0;
				result = use(buffer + start);
				start = at + 1;
			}
		for (size_t at = start; at < kept; at++) /* the rest of a line */
			buffer[at - start] = buffer[at];
		kept -= start;
	}
	raw(SYS_close, fd);
	return result != 0 ? result : (int)got;
}

/* proc_after returns what follows the first word in line, or NULL. */
const char *proc_after(const char *line, const char *word)
{
	for (; *line != 0; line++) {
		size_t n = 0;

		while (word[n] != 0 && line[n] == word[n])
			n++;
		if (word[n] == 0)
			return line + n;
	}
	return NULL;
}

/*
 * proc_number reads a number and the spaces before it. It returns what follows,
 * or a string that isn't empty when there is no number.
 */
const char *proc_number(const char *text, unsigned base, uint64_t *value)
{
	static const char none[] = "?";
	const char *start;
	unsigned digit;

	while (*text == ' ' || *text == '\t')
		text++;
	*value = 0;
	for (start = text;; text++) {
		if (*text >= '0' && *text <= '9')
			digit = (unsigned)(*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			digit = (unsigned)(*text - 'a' + 10);
		else
			break;
		if (digit >= base)
			break;
		*value = *value * base + digit;
	}
	return text == start ? none : text;
}
