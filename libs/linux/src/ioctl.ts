import { bind, check, checkAsync, type Path } from './libc.ts'

const native = bind('int ioctl(int fd, unsigned long request, void *argument)')

/**
 * Asks the driver behind a descriptor for something, with a structure that the request is about and that the answer comes
 * in. A failure is a LinuxError with `what` and the path.
 */
export function ioctl(fd: number, request: number, argument: Buffer | null, what: string, path?: Path): number {
  return check(native(fd, request, argument), what, path)
}

/** The same for what may take long, on a thread of koffi's pool. The descriptor stays open until it is answered. */
export function ioctlAsync(fd: number, request: number, argument: Buffer, what: string, path?: Path): Promise<number> {
  return checkAsync(native, [fd, request, argument], what, path)
}
