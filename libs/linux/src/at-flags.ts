// Values of linux/fcntl.h and asm-generic/fcntl.h.
/** Directory descriptor that stands for the working directory. */
export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_REMOVEDIR = 0x200
export const AT_EMPTY_PATH = 0x1000

// Resolve flags of openat2, linux/openat2.h.
export const RESOLVE_NO_XDEV = 0x01
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_BENEATH = 0x08
export const RESOLVE_IN_ROOT = 0x10

/** A handle that names a file without opening it. */
export const O_PATH = 0o10000000
export const O_CLOEXEC = 0o2000000
