/*
 * The least that unpacking a tar can take once it is in memory: makes its directories and regular files, with contents,
 * owner, mode and time, and looks at nothing else. Prints how many files it made.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { block = 512 };

static long octal(const char *field, int length) {
  char digits[16];
  memcpy(digits, field, length);
  digits[length] = 0;
  return strtol(digits, 0, 8);
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int count, char **words) {
  if (count != 3) return fprintf(stderr, "usage: write-tar TAR DIRECTORY\n"), 2;
  int tar = open(words[1], O_RDONLY);
  struct stat about;
  if (tar < 0 || fstat(tar, &about) != 0) fail(words[1]);
  char *start = mmap(0, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, tar, 0);
  if (start == MAP_FAILED) fail(words[1]);
  if (chdir(words[2]) != 0) fail(words[2]);
  long files = 0;
  for (char *at = start; at < start + about.st_size && *at;) {
    long size = octal(at + 124, 11);
    char name[300];
    snprintf(name, sizeof name, at[345] ? "%.155s/%.100s" : "%.0s%.100s", at + 345, at);
    if (at[156] == '5') {
      if (mkdir(name, 0755) != 0) fail(name);
    } else if (at[156] == '0') {
      int file = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
      struct timespec times[2] = {{0, UTIME_OMIT}, {octal(at + 136, 11), 0}};
      if (file < 0 || write(file, at + block, size) != size) fail(name);
      if (fchown(file, octal(at + 108, 7), octal(at + 116, 7)) != 0) fail(name);
      if (fchmod(file, octal(at + 100, 7)) != 0 || futimens(file, times) != 0) fail(name);
      close(file);
      files++;
    }
    at += block + (size + block - 1) / block * block;
  }
  printf("%ld\n", files);
  return 0;
}
