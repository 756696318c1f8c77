import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { LinuxError } from './errno.ts'
import { bind, check, checkAsync } from './libc.ts'
import { pipe } from './pipe.ts'

export interface SpawnOptions {
  readonly cwd?: string | undefined
  /** The whole environment of the program; what is undefined is left out. */
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A program that runs as a child of ours. */
export interface ChildProgram {
  readonly pid: number
  /** The other ends of its standard streams; the caller destroys them. */
  readonly stdin: Socket
  readonly stdout: Socket
  readonly stderr: Socket
  /** Its exit status once it has ended, null when a signal ended it. */
  readonly exited: Promise<number | null>
  /** Sends SIGKILL, unless it has ended. */
  kill(): void
}

const native = {
  spawn: bind(
    'int posix_spawn(void *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **envp)',
  ),
  waitpid: bind('int waitpid(int pid, void *status, int options)'),
  actionsInit: bind('int posix_spawn_file_actions_init(void *actions)'),
  actionsDestroy: bind('int posix_spawn_file_actions_destroy(void *actions)'),
  addDup2: bind('int posix_spawn_file_actions_adddup2(void *actions, int from, int to)'),
  addChdir: bind('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)'),
  attributesInit: bind('int posix_spawnattr_init(void *attributes)'),
  attributesDestroy: bind('int posix_spawnattr_destroy(void *attributes)'),
  setFlags: bind('int posix_spawnattr_setflags(void *attributes, short flags)'),
  setDefaultSignals: bind('int posix_spawnattr_setsigdefault(void *attributes, const void *set)'),
}

/** More than the C library's posix_spawn_file_actions_t, posix_spawnattr_t and sigset_t take. */
const structBytes = 512

/** POSIX_SPAWN_SETSIGDEF, _SETSIGMASK (to the attributes' empty one) and _SETSID of spawn.h. */
const flags = 0x04 | 0x08 | 0x80
const WNOHANG = 1

/**
 * Starts a program in a session of its own, with pipes for its standard streams. Unlike Node's `spawn`, which copies the
 * page tables of the whole process and stops everything else meanwhile, this borrows them on another thread
 * until the program has begun. `path` is not looked up; fails with a LinuxError when it cannot be run.
 */
export async function spawnProgram(
  path: string,
  args: readonly string[],
  { cwd, env }: SpawnOptions,
): Promise<ChildProgram> {
  const [actions, attributes, pid] = [Buffer.alloc(structBytes), Buffer.alloc(structBytes), Buffer.alloc(4)]
  const environment = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  const open = new Set<number>()
  const ends = () => {
    const made = pipe()
    open.add(made.read).add(made.write)
    return made
  }
  const close = (fd: number) => {
    if (open.delete(fd)) closeSync(fd)
  }
  native.actionsInit(actions)
  native.attributesInit(attributes)
  try {
    const [input, output, errors] = [ends(), ends(), ends()]
    for (const [to, from] of [input.read, output.write, errors.write].entries())
      succeed(native.addDup2(actions, from, to), path)
    if (cwd !== undefined) succeed(native.addChdir(actions, cwd), cwd)
    succeed(native.setFlags(attributes, flags), path)
    // Node ignores SIGPIPE, which a program would inherit.
    succeed(native.setDefaultSignals(attributes, Buffer.alloc(128, 0xff)), path)
    const list = (items: readonly string[]) => [...items, null] as never
    const call = [pid, path, actions, attributes, list([path, ...args]), list(environment)]
    succeed(await checkAsync(native.spawn, call, 'posix_spawn', path), path)
    const child = pid.readInt32LE()
    const exited = reap(child)
    for (const fd of [input.read, output.write, errors.write]) close(fd)
    const stream = (fd: number, side: object) => {
      open.delete(fd)
      return new Socket({ fd, readable: false, writable: false, ...side })
    }
    return {
      pid: child,
      stdin: stream(input.write, { writable: true }),
      stdout: stream(output.read, { readable: true }),
      stderr: stream(errors.read, { readable: true }),
      exited,
      kill() {
        // Ours until it was waited for, so the number is no other process's.
        if (children.has(child)) process.kill(child, 'SIGKILL')
      },
    }
  } finally {
    for (const fd of open) closeSync(fd)
    native.actionsDestroy(actions)
    native.attributesDestroy(attributes)
  }
}

/** These calls give the number of the error. */
function succeed(result: number, path: string): void {
  if (result !== 0) throw LinuxError.fromErrno(result, 'posix_spawn', path)
}

/** Who waits for the children that have not ended, by process id. */
const children = new Map<number, (code: number | null) => void>()
const status = Buffer.alloc(4)

function reap(pid: number): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>()
  if (children.size === 0) process.on('SIGCHLD', reapAll)
  children.set(pid, resolve)
  // It may have ended before anybody listened.
  reapAll()
  return promise
}

/** One signal may stand for several ends; Node's own children are not touched. */
function reapAll(): void {
  for (const [pid, resolve] of children) {
    if (check(native.waitpid(pid, status, WNOHANG), 'waitpid') === 0) continue
    const word = status.readInt32LE()
    children.delete(pid)
    resolve((word & 0x7f) === 0 ? (word >> 8) & 0xff : null)
  }
  if (children.size === 0) process.removeListener('SIGCHLD', reapAll)
}
