//go:build linux

#define _GNU_SOURCE /* for MAP_ANONYMOUS */
#include "size.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	PAGE = 4096,
	TABLE = 512 * PAGE, /* what one table of pages maps */
};

static char *first; /* where the mappings begin */
static int maps, pages, tables, writes;

/* apart is how far the mappings of a table lie apart. */
static size_t apart(void)
{
	return (size_t)TABLE / ((maps + tables - 1) / tables) / PAGE * PAGE;
}

/* at is where a mapping begins. */
static char *at(int map)
{
	int table = (int64_t)map * tables / maps;
	int before = ((int64_t)table * maps + tables - 1) / tables; /* the first one of the table */

	return first + (size_t)table * TABLE + (map - before) * apart();
}

/* written is how many pages of a mapping are written to. */
static int written(int map)
{
	return pages / maps + (map < pages % maps);
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

void size(int argc, char **argv)
{
	static const struct { const char *name; int *value; } options[] = {
		{ "-maps", &maps }, { "-pages", &pages }, { "-tables", &tables }, { "-writes", &writes },
	};

	for (int i = 1; i + 1 < argc; i++)
		for (size_t o = 0; o < sizeof options / sizeof *options; o++)
			if (strcmp(argv[i], options[o].name) == 0)
				*options[o].value = atoi(argv[i + 1]);
	if (maps < 1 || tables < 1)
		return;
	if (tables > maps)
		tables = maps;
	if (pages < maps)
		pages = maps;
	if ((size_t)(pages / maps + 2) * PAGE > apart()) { /* they would be one mapping */
		fprintf(stderr, "too many pages for so few mappings\n");
		exit(1);
	}
	/* Room for all, of which each mapping takes its place. */
	first = mmap(NULL, (size_t)(tables + 1) * TABLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (first == MAP_FAILED || munmap(first, (size_t)(tables + 1) * TABLE) < 0)
		fail("room");
	first = (char *)(((uintptr_t)first + TABLE - 1) / TABLE * TABLE);
	for (int m = 0; m < maps; m++) {
		char *map = mmap(at(m), (size_t)written(m) * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (map == MAP_FAILED)
			fail("mmap");
		for (int p = 0; p < written(m); p++)
			map[(size_t)p * PAGE] = 1;
	}
}

void touch(void)
{
	for (int i = 0; i < writes && i < pages; i++)
		(*(volatile char *)(at(i % maps) + (size_t)(i / maps) * PAGE))++;
}
