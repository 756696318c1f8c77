import type { IOEntry, MemoryStat, Metrics } from '@flotilla/api/io/containerd/cgroups/v2/cgroups'
import { type Family, single } from './family.ts'

const memoryFields: ReadonlyArray<readonly [string, Exclude<keyof MemoryStat, 'psi'>]> = [
  ['usage', 'usage'],
  ['usage_limit', 'usageLimit'],
  ['swap_usage', 'swapUsage'],
  ['swap_limit', 'swapLimit'],
  ['file_mapped', 'fileMapped'],
  ['file_dirty', 'fileDirty'],
  ['file_writeback', 'fileWriteback'],
  ['pgactivate', 'pgactivate'],
  ['pgdeactivate', 'pgdeactivate'],
  ['pgfault', 'pgfault'],
  ['pgmajfault', 'pgmajfault'],
  ['pglazyfree', 'pglazyfree'],
  ['pgrefill', 'pgrefill'],
  ['pglazyfreed', 'pglazyfreed'],
  ['pgscan', 'pgscan'],
  ['pgsteal', 'pgsteal'],
  ['inactive_anon', 'inactiveAnon'],
  ['active_anon', 'activeAnon'],
  ['inactive_file', 'inactiveFile'],
  ['active_file', 'activeFile'],
  ['unevictable', 'unevictable'],
  ['anon', 'anon'],
  ['file', 'file'],
  ['kernel_stack', 'kernelStack'],
  ['slab', 'slab'],
  ['sock', 'sock'],
  ['shmem', 'shmem'],
  ['anon_thp', 'anonThp'],
  ['slab_reclaimable', 'slabReclaimable'],
  ['slab_unreclaimable', 'slabUnreclaimable'],
  ['workingset_refault', 'workingsetRefault'],
  ['workingset_activate', 'workingsetActivate'],
  ['workingset_nodereclaim', 'workingsetNodereclaim'],
  ['thp_fault_alloc', 'thpFaultAlloc'],
  ['thp_collapse_alloc', 'thpCollapseAlloc'],
]

const ioFields: ReadonlyArray<readonly [string, string, Exclude<keyof IOEntry, 'major' | 'minor'>]> = [
  ['rbytes_bytes', 'Bytes read.', 'rbytes'],
  ['wbytes_bytes', 'Bytes written.', 'wbytes'],
  ['rios_total', 'Reads.', 'rios'],
  ['wios_total', 'Writes.', 'wios'],
]

/** What containerd tells of tasks on the unified hierarchy, cgroup v2. */
export const families: ReadonlyArray<Family<Metrics>> = [
  single('pids_limit', 'Most processes that there may be.', ({ pids }) => pids?.limit),
  single('pids_current', 'Processes that there are.', ({ pids }) => pids?.current),
  single('cpu_usage_usec_microseconds', 'CPU time.', ({ cpu }) => cpu?.usageUsec),
  single('cpu_user_usec_microseconds', 'CPU time in user space.', ({ cpu }) => cpu?.userUsec),
  single('cpu_system_usec_microseconds', 'CPU time in the kernel.', ({ cpu }) => cpu?.systemUsec),
  single('cpu_nr_periods_total', 'Periods of the CPU quota.', ({ cpu }) => cpu?.nrPeriods),
  single('cpu_nr_throttled_total', 'Periods throttled.', ({ cpu }) => cpu?.nrThrottled),
  single('cpu_throttled_usec_microseconds', 'Time throttled.', ({ cpu }) => cpu?.throttledUsec),
  ...memoryFields.map(([name, field]) =>
    single<Metrics>(`memory_${name}_bytes`, `Memory: ${name.replaceAll('_', ' ')}.`, ({ memory }) => memory?.[field]),
  ),
  single('memory_oom_total', 'Times that it was out of memory.', ({ memoryEvents }) => memoryEvents?.oom),
  ...ioFields.map(
    ([name, help, field]): Family<Metrics> => ({
      name: `io_${name}`,
      help,
      labels: ['major', 'minor'],
      read: ({ io }) =>
        (io?.usage ?? []).map((entry) => ({
          labels: { major: String(entry.major), minor: String(entry.minor) },
          value: entry[field],
        })),
    }),
  ),
]
