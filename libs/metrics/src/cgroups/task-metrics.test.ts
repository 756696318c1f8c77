import { Metrics as MetricsV1 } from '@flotilla/api/io/containerd/cgroups/v1/cgroups'
import { Metrics as MetricsV2 } from '@flotilla/api/io/containerd/cgroups/v2/cgroups'
import { expect, test } from 'vitest'
import { createMetrics } from '../metrics.ts'
import { addTaskMetrics } from './task-metrics.ts'

const task = (typeUrl: string, value: Uint8Array) => ({
  id: 'c1',
  namespace: 'default',
  data: { typeUrl, value: Buffer.from(value) },
})
const labels = 'container_id="c1",namespace="default"'

test('tells of cgroup v1 what containerd tells', async () => {
  const stats = MetricsV1.fromPartial({
    pids: { current: 3, limit: 10 },
    cpu: { usage: { total: 5, perCpu: [1, 4] } },
    memory: { cache: 8, hierarchicalSwapLimit: 9, usage: { usage: 4096, limit: 8192 } },
    hugetlb: [{ pagesize: '2MB', usage: 6 }],
    blkio: { ioServiceBytesRecursive: [{ op: 'Read', device: '/dev/a', major: 8, minor: 1, value: 7 }] },
  })
  const metrics = createMetrics()
  let asked = 0
  addTaskMetrics(
    metrics,
    async () => {
      asked++
      return [task('io.containerd.cgroups.v1.Metrics', MetricsV1.encode(stats).finish())]
    },
    false,
  )
  const text = await metrics.text()
  expect(asked).toBe(1)
  const sorted = (line: string) => line.split(/[{},]/).sort().join()
  const lines = text.split('\n').map(sorted)
  for (const wanted of [
    `container_memory_usage_usage_bytes{${labels}} 4096`,
    `container_memory_usage_limit_bytes{${labels}} 8192`,
    `container_memory_cache_bytes{${labels}} 8`,
    `container_memory_hierarchical_memsw_limit_bytes{${labels}} 9`,
    `container_cpu_total_nanoseconds{${labels}} 5`,
    `container_per_cpu_nanoseconds{cpu="1",${labels}} 4`,
    `container_pids_current{${labels}} 3`,
    `container_hugetlb_usage_bytes{page="2MB",${labels}} 6`,
    `container_blkio_io_service_bytes_recursive_bytes{op="Read",device="/dev/a",major="8",minor="1",${labels}} 7`,
  ])
    expect(lines, wanted).toContain(sorted(wanted))
  // A controller that the kernel does not have is left out, not zero.
  expect(text).not.toMatch(/^container_memory_swap_usage_bytes\{/m)
})

test('tells of cgroup v2 what containerd tells', async () => {
  const stats = MetricsV2.fromPartial({
    cpu: { usageUsec: 12 },
    memory: { usage: 4096 },
    io: { usage: [{ major: 8, minor: 0, rbytes: 5 }] },
    memoryEvents: { oom: 2 },
  })
  const metrics = createMetrics()
  addTaskMetrics(
    metrics,
    async () => [task('io.containerd.cgroups.v2.Metrics', MetricsV2.encode(stats).finish())],
    true,
  )
  const text = await metrics.text()
  expect(text).toContain(`container_memory_usage_bytes{${labels}} 4096`)
  expect(text).toContain(`container_cpu_usage_usec_microseconds{${labels}} 12`)
  expect(text).toContain(`container_memory_oom_total{${labels}} 2`)
  expect(text).toMatch(/^container_io_rbytes_bytes\{.*major="8".*\} 5$/m)
})
