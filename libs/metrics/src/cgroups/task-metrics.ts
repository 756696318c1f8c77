import { existsSync } from 'node:fs'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { Metrics as MetricsV1 } from '@flotilla/api/io/containerd/cgroups/v1/cgroups'
import { Metrics as MetricsV2 } from '@flotilla/api/io/containerd/cgroups/v2/cgroups'
import type { Metrics, Reading } from '../metrics.ts'
import { families as familiesV1 } from './v1.ts'
import { families as familiesV2 } from './v2.ts'

/** What a shim says that a task uses. */
export interface TaskStats {
  readonly id: string
  readonly namespace: string
  /** `io.containerd.cgroups.v1.Metrics` or `…v2.Metrics`. */
  readonly data: Any | undefined
}

const v1 = { type: MetricsV1, families: familiesV1, typeUrl: 'io.containerd.cgroups.v1.Metrics' }
const v2 = { type: MetricsV2, families: familiesV2, typeUrl: 'io.containerd.cgroups.v2.Metrics' }

/** Whether this machine has cgroup v2 alone. */
const isUnified = () => existsSync('/sys/fs/cgroup/cgroup.controllers')

/**
 * Tells what each task uses under containerd's metric names: `container_…` with labels `container_id` and `namespace`.
 * `read` is asked once for a scrape.
 */
export function addTaskMetrics(
  metrics: Pick<Metrics, 'gauge'>,
  read: () => Promise<readonly TaskStats[]>,
  unified = isUnified(),
): void {
  // All gauges of a scrape are read at the same time.
  let reading: Promise<readonly TaskStats[]> | undefined
  const shared = () => {
    reading ??= read().finally(() => {
      reading = undefined
    })
    return reading
  }
  if (unified) add(metrics, shared, v2)
  else add(metrics, shared, v1)
}

function add<Stats>(
  metrics: Pick<Metrics, 'gauge'>,
  read: () => Promise<readonly TaskStats[]>,
  {
    families,
    type,
    typeUrl,
  }: {
    readonly type: { decode(bytes: Uint8Array): Stats }
    readonly typeUrl: string
    readonly families: ReadonlyArray<{
      readonly name: string
      readonly help: string
      readonly labels: readonly string[]
      read(stats: Stats): readonly Reading[]
    }>
  },
): void {
  for (const family of families) {
    const labels = ['container_id', 'namespace', ...family.labels]
    metrics.gauge(`container_${family.name}`, family.help, labels, async () =>
      (await read())
        .filter(({ data }) => data?.typeUrl.split('/').at(-1) === typeUrl)
        .flatMap(({ data, id, namespace }) =>
          family.read(type.decode(data?.value ?? Buffer.of())).map((one) => ({
            value: one.value,
            labels: { ...one.labels, container_id: id, namespace },
          })),
        ),
    )
  }
}
