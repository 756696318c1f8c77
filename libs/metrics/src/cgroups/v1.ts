import type {
  BlkIOEntry,
  BlkIOStat,
  MemoryEntry,
  MemoryStat,
  Metrics,
} from '@flotilla/api/io/containerd/cgroups/v1/cgroups'
import { type Family, single } from './family.ts'

type Numbers<T> = { [K in keyof T]-?: T[K] extends number ? K : never }[keyof T]

const memoryFields: ReadonlyArray<readonly [string, Numbers<MemoryStat>]> = [
  ['cache', 'cache'],
  ['rss', 'rss'],
  ['rss_huge', 'rssHuge'],
  ['mapped_file', 'mappedFile'],
  ['dirty', 'dirty'],
  ['writeback', 'writeback'],
  ['pgpgin', 'pgPgIn'],
  ['pgpgout', 'pgPgOut'],
  ['pgfault', 'pgFault'],
  ['pgmajfault', 'pgMajFault'],
  ['inactive_anon', 'inactiveAnon'],
  ['active_anon', 'activeAnon'],
  ['inactive_file', 'inactiveFile'],
  ['active_file', 'activeFile'],
  ['unevictable', 'unevictable'],
  ['hierarchical_memory_limit', 'hierarchicalMemoryLimit'],
  ['hierarchical_memsw_limit', 'hierarchicalSwapLimit'],
  ['total_cache', 'totalCache'],
  ['total_rss', 'totalRss'],
  ['total_rss_huge', 'totalRssHuge'],
  ['total_mapped_file', 'totalMappedFile'],
  ['total_dirty', 'totalDirty'],
  ['total_writeback', 'totalWriteback'],
  ['total_pgpgin', 'totalPgPgIn'],
  ['total_pgpgout', 'totalPgPgOut'],
  ['total_pgfault', 'totalPgFault'],
  ['total_pgmajfault', 'totalPgMajFault'],
  ['total_inactive_anon', 'totalInactiveAnon'],
  ['total_active_anon', 'totalActiveAnon'],
  ['total_inactive_file', 'totalInactiveFile'],
  ['total_active_file', 'totalActiveFile'],
  ['total_unevictable', 'totalUnevictable'],
]

const memoryEntries: ReadonlyArray<readonly [string, 'usage' | 'swap' | 'kernel' | 'kernelTcp']> = [
  ['usage', 'usage'],
  ['swap', 'swap'],
  ['kernel', 'kernel'],
  ['kerneltcp', 'kernelTcp'],
]

const entryFields: ReadonlyArray<readonly [string, Numbers<MemoryEntry>]> = [
  ['failcnt_total', 'failcnt'],
  ['limit_bytes', 'limit'],
  ['max_bytes', 'max'],
  ['usage_bytes', 'usage'],
]

const blkioFields: ReadonlyArray<readonly [string, keyof BlkIOStat]> = [
  ['io_merged_recursive_total', 'ioMergedRecursive'],
  ['io_queued_recursive_total', 'ioQueuedRecursive'],
  ['io_service_bytes_recursive_bytes', 'ioServiceBytesRecursive'],
  ['io_service_time_recursive_total', 'ioServiceTimeRecursive'],
  ['io_serviced_recursive_total', 'ioServicedRecursive'],
  ['io_time_recursive_total', 'ioTimeRecursive'],
  ['sectors_recursive_total', 'sectorsRecursive'],
]

const spoken = (name: string) => name.replaceAll('_', ' ')

const blkioReading = ({ device, major, minor, op, value }: BlkIOEntry) => ({
  labels: { op, device, major: String(major), minor: String(minor) },
  value,
})

/** What containerd tells of tasks on the hierarchies of cgroup v1. */
export const families: ReadonlyArray<Family<Metrics>> = [
  single('pids_limit', 'Most processes that there may be.', ({ pids }) => pids?.limit),
  single('pids_current', 'Processes that there are.', ({ pids }) => pids?.current),
  single('cpu_total_nanoseconds', 'CPU time.', ({ cpu }) => cpu?.usage?.total),
  single('cpu_kernel_nanoseconds', 'CPU time in the kernel.', ({ cpu }) => cpu?.usage?.kernel),
  single('cpu_user_nanoseconds', 'CPU time in user space.', ({ cpu }) => cpu?.usage?.user),
  {
    name: 'per_cpu_nanoseconds',
    help: 'CPU time on each CPU.',
    labels: ['cpu'],
    read: ({ cpu }) => (cpu?.usage?.perCpu ?? []).map((value, at) => ({ labels: { cpu: String(at) }, value })),
  },
  single('cpu_throttle_periods_total', 'Periods of the CPU quota.', ({ cpu }) => cpu?.throttling?.periods),
  single('cpu_throttled_periods_total', 'Periods throttled.', ({ cpu }) => cpu?.throttling?.throttledPeriods),
  single('cpu_throttled_time_nanoseconds', 'Time throttled.', ({ cpu }) => cpu?.throttling?.throttledTime),
  ...memoryFields.map(([name, field]) =>
    single<Metrics>(`memory_${name}_bytes`, `Memory: ${spoken(name)}.`, ({ memory }) => memory?.[field]),
  ),
  ...memoryEntries.flatMap(([name, entry]) =>
    entryFields.map(([suffix, field]) =>
      single<Metrics>(
        `memory_${name}_${suffix}`,
        `Memory: ${name} ${field}.`,
        ({ memory }) => memory?.[entry]?.[field],
      ),
    ),
  ),
  single('memory_oom_total', 'Times that it was out of memory.', ({ memoryOomControl }) => memoryOomControl?.oomKill),
  ...(['usage_bytes', 'failcnt_total', 'max_bytes'] as const).map(
    (suffix): Family<Metrics> => ({
      name: `hugetlb_${suffix}`,
      help: `Huge pages: ${spoken(suffix)}.`,
      labels: ['page'],
      read: ({ hugetlb }) =>
        hugetlb.map(({ failcnt, max, pagesize, usage }) => ({
          labels: { page: pagesize },
          value: { usage_bytes: usage, failcnt_total: failcnt, max_bytes: max }[suffix],
        })),
    }),
  ),
  ...blkioFields.map(
    ([name, field]): Family<Metrics> => ({
      name: `blkio_${name}`,
      help: `Block devices: ${spoken(name)}.`,
      labels: ['op', 'device', 'major', 'minor'],
      read: ({ blkio }) => (blkio?.[field] ?? []).map(blkioReading),
    }),
  ),
]
