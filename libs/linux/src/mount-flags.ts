// Flag values of linux/mount.h.
export const mountFlags = {
  rdonly: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  synchronous: 0x10,
  remount: 0x20,
  mandlock: 0x40,
  dirsync: 0x80,
  noatime: 0x400,
  nodiratime: 0x800,
  bind: 0x1000,
  move: 0x2000,
  rec: 0x4000,
  unbindable: 0x20000,
  private: 0x40000,
  slave: 0x80000,
  shared: 0x100000,
  relatime: 0x200000,
  strictatime: 0x1000000,
} as const

/** Flags that change how a mount passes events on; the kernel takes them only in a call of their own. */
export const propagationFlags = mountFlags.shared | mountFlags.private | mountFlags.slave | mountFlags.unbindable

/** Flags of one mount (not of its file system): on a bind mount they count only in a remount. */
export const perMountFlags =
  mountFlags.rdonly |
  mountFlags.nosuid |
  mountFlags.nodev |
  mountFlags.noexec |
  mountFlags.noatime |
  mountFlags.nodiratime |
  mountFlags.relatime |
  mountFlags.strictatime

// umount2
export const MNT_FORCE = 1
/** The mount leaves the tree at once and goes when its last user has gone. */
export const MNT_DETACH = 2
export const UMOUNT_NOFOLLOW = 8
