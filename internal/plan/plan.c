//go:build linux && (amd64 || arm64)

#include "plan.h"

#include <errno.h>
#include <string.h>

struct layout {
	uint64_t fds, files, groups, caps, vectors, strings;
};

/* The counts have 32 bits, so the sums can't overflow 64. */
static void lay_out(const struct rawfork_plan *p, struct layout *l)
{
	l->fds = sizeof(*p);
	l->files = l->fds + 4ull * p->nfds;
	l->groups = l->files + 4ull * p->nfiles;
	l->caps = l->groups + 4ull * p->ngroups;
	l->vectors = (l->caps + 4ull * p->ncaps + 7) & ~7ull;
	l->strings = l->vectors + 8ull * p->argc + 8ull * p->envc + 16;
}

static int header_ok(const struct rawfork_plan *p, size_t size)
{
	uint32_t f = p->flags;

	return p->magic == RAWFORK_PLAN_MAGIC && p->size == size && p->zero == 0
	       && (f & ~(uint32_t)RAWFORK_ALL_FLAGS) == 0
	       && (p->cloneflags & ~RAWFORK_CLONEFLAGS) == 0
	       && p->pdeathsig >= 0 && p->pdeathsig <= 64
	       && !((f & RAWFORK_FOREGROUND) && (f & RAWFORK_SETCTTY))
	       && !((f & RAWFORK_FOREGROUND) && (p->ctty < 0 || (uint32_t)p->ctty >= p->nfds))
	       && !((f & RAWFORK_SETCTTY) && (p->ctty < 0 || (uint32_t)p->ctty >= p->nfiles))
	       && !((f & RAWFORK_CGROUP) && (p->cgroup < 0 || (uint32_t)p->cgroup >= p->nfds));
}

static int arrays_ok(const char *base, const struct rawfork_plan *p, const struct layout *l)
{
	const int32_t *fds = (const int32_t *)(base + l->fds);
	const int32_t *files = (const int32_t *)(base + l->files);
	const uint32_t *caps = (const uint32_t *)(base + l->caps);
	uint32_t i;

	for (i = 0; i < p->nfds; i++)
		if (fds[i] < 0)
			return 0;
	for (i = 0; i < p->nfiles; i++)
		if (files[i] < -1 || (files[i] >= 0 && (uint32_t)files[i] >= p->nfds))
			return 0;
	for (i = 0; i < p->ncaps; i++)
		if (caps[i] >= 64)
			return 0;
	return 1;
}

/* Exactly as many strings as counted, and the last NUL is the last byte. */
static int strings_ok(const char *s, const char *end, uint64_t count)
{
	while (count > 0 && s < end) {
		const char *nul = memchr(s, 0, end - s);

		if (!nul)
			return 0;
		s = nul + 1;
		count--;
	}
	return count == 0 && s == end;
}

int rawfork_plan_check(const void *plan, size_t size)
{
	const struct rawfork_plan *p = plan;
	const char *base = plan;
	struct layout l;

	if ((uintptr_t)plan % 8 != 0 || size < sizeof(*p) || !header_ok(p, size))
		return -EINVAL;
	lay_out(p, &l);
	if (l.strings > size || !arrays_ok(base, p, &l))
		return -EINVAL;
	if (!strings_ok(base + l.strings, base + size, (uint64_t)RAWFORK_STRINGS + p->argc + p->envc))
		return -EINVAL;
	return 0;
}

static char *take_string(char **s)
{
	char *this = *s;

	*s += strlen(this) + 1;
	return this;
}

static void take_vector(char **vector, uint32_t count, char **s)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		vector[i] = take_string(s);
	vector[count] = NULL;
}

void rawfork_plan_link(void *plan, struct rawfork_image *image)
{
	const struct rawfork_plan *p = plan;
	char *base = plan, *s;
	struct layout l;

	lay_out(p, &l);
	image->plan = p;
	image->fds = (int32_t *)(base + l.fds);
	image->files = (int32_t *)(base + l.files);
	image->groups = (const uint32_t *)(base + l.groups);
	image->caps = (const uint32_t *)(base + l.caps);
	s = base + l.strings;
	image->path = take_string(&s);
	image->dir = take_string(&s);
	image->chroot = take_string(&s);
	image->uid_map = take_string(&s);
	image->gid_map = take_string(&s);
	image->argv = (char **)(base + l.vectors);
	image->envp = image->argv + p->argc + 1;
	take_vector(image->argv, p->argc, &s);
	take_vector(image->envp, p->envc, &s);
}

void rawfork_plan_number(struct rawfork_image *image)
{
	uint32_t i;

	for (i = 0; i < image->plan->nfiles; i++)
		if (image->files[i] >= 0)
			image->files[i] = image->fds[image->files[i]];
}

const char *rawfork_step_name(int step)
{
	static const char *const names[] = {
		[RAWFORK_NO_STEP] = "",
#define RAWFORK_STEP(name, text) [RAWFORK_STEP_##name] = text,
		RAWFORK_STEP_NAMES(RAWFORK_STEP)
#undef RAWFORK_STEP
	};

	return step >= 0 && step < RAWFORK_STEPS ? names[step] : "";
}
