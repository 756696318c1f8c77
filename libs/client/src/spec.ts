import { invalidArgument } from '@flotilla/rpc'
import type { ImageConfig } from './image.ts'
import type { User } from './users.ts'

/** The parts of an OCI runtime specification that are set here; an `adjust` function may set any other. */
export interface Spec {
  ociVersion: string
  process: {
    terminal: boolean
    user: User
    args: string[]
    env: string[]
    cwd: string
    capabilities: Record<'bounding' | 'effective' | 'permitted', string[]>
    rlimits: Array<{ type: string; hard: number; soft: number }>
    noNewPrivileges: boolean
    [other: string]: unknown
  }
  root: { path: string; readonly?: boolean }
  hostname?: string
  mounts: Mount[]
  linux: {
    resources: { devices: DeviceRule[]; [other: string]: unknown }
    cgroupsPath: string
    namespaces: Array<{ type: string; path?: string }>
    maskedPaths: string[]
    readonlyPaths: string[]
    [other: string]: unknown
  }
  [other: string]: unknown
}

export interface Mount {
  destination: string
  type: string
  source: string
  options: string[]
}

interface DeviceRule {
  allow: boolean
  type?: string
  major?: number
  minor?: number
  access: string
}

export interface SpecOptions {
  readonly id: string
  readonly namespace: string
  readonly image: ImageConfig['config']
  /** Replaces the image's command; the entrypoint stays. */
  readonly args?: readonly string[] | undefined
  /** `NAME=value`; wins over the image's. */
  readonly env?: readonly string[] | undefined
  readonly cwd?: string | undefined
  readonly user: User
  readonly terminal: boolean
  readonly hostname?: string | undefined
  /** Uses the node's network instead of one of its own. */
  readonly hostNetwork?: boolean | undefined
  readonly mounts?: readonly Mount[] | undefined
}

// What containerd gives a container that asks for nothing: enough to change users, listen on low ports and own files.
const capabilities =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
    .split(' ')
    .map((name) => `CAP_${name}`)

const mounts: readonly Mount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/run',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
]

const masked =
  '/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi'
const readonly = '/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger'

const character = (major: number, minor?: number): DeviceRule => ({
  allow: true,
  type: 'c',
  major,
  ...(minor === undefined ? {} : { minor }),
  access: 'rwm',
})
const devices: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  // null, zero, full, random, urandom; tty, console, ptmx, pts.
  ...[3, 5, 7, 8, 9].map((minor) => character(1, minor)),
  ...[0, 1, 2].map((minor) => character(5, minor)),
  character(136),
]

/** The specification of a container made from an image, as `ctr run` would make it. */
export function specOf(options: SpecOptions): Spec {
  const { image, terminal } = options
  const args = [...(image.Entrypoint ?? []), ...(options.args?.length ? options.args : (image.Cmd ?? []))]
  if (args.length === 0) throw invalidArgument('the image has no command: give one')
  const cwd = options.cwd ?? (image.WorkingDir || '/')
  return {
    ociVersion: '1.1.0',
    process: {
      terminal,
      user: options.user,
      args,
      env: mergedEnv(
        ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...(terminal ? ['TERM=xterm'] : [])],
        image.Env ?? [],
        options.env ?? [],
      ),
      cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
    mounts: [...mounts, ...(options.mounts ?? []), ...(options.hostNetwork ? networkFiles : [])],
    linux: {
      resources: { devices: [...devices] },
      cgroupsPath: `/${options.namespace}/${options.id}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount', ...(options.hostNetwork ? [] : ['network'])].map((type) => ({ type })),
      maskedPaths: masked.split(' '),
      readonlyPaths: readonly.split(' '),
    },
  }
}

const networkFiles: readonly Mount[] = ['/etc/hosts', '/etc/resolv.conf'].map((path) => ({
  destination: path,
  type: 'bind',
  source: path,
  options: ['rbind', 'ro'],
}))

function mergedEnv(...lists: ReadonlyArray<readonly string[]>): string[] {
  const merged = new Map<string, string>()
  for (const entry of lists.flat()) merged.set(entry.split('=', 1)[0] ?? '', entry)
  return [...merged.values()]
}
