import type { Reading } from '../metrics.ts'

/** One metric of tasks, named as containerd names it without the prefix `container_`. */
export interface Family<Stats> {
  readonly name: string
  readonly help: string
  /** Besides `container_id` and `namespace`. */
  readonly labels: readonly string[]
  read(stats: Stats): readonly Reading[]
}

/** A metric with one value for each task; none where the kernel has no such controller. */
export function single<Stats>(name: string, help: string, read: (stats: Stats) => number | undefined): Family<Stats> {
  return {
    name,
    help,
    labels: [],
    read(stats) {
      const value = read(stats)
      return value === undefined ? [] : [{ value }]
    },
  }
}
