import { globSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '@flotilla/testing'
import { descriptorsOf, ifThere } from './processes.ts'
import type { System } from './system.ts'

type Directories = Pick<System, 'root' | 'state'>

/** What a system has on disk for the things that clients make, as paths. */
const made = [
  'io.containerd.content.v1.content/blobs/*/*',
  'io.containerd.content.v1.content/ingest/*',
  'io.containerd.snapshotter.v1.*/snapshots/*',
  'io.containerd.runtime.v2.task/*/*',
]

/** Files and directories of blobs, ingests, snapshots and bundles, and descriptors on them, that a system has now. */
function residueOf({ root, state }: Directories): Set<string> {
  const found = [root, state].flatMap((home) => globSync(made, { cwd: home }).map((path) => join(home, path)))
  return new Set([...found, ...openBelow([join(root, 'io.containerd.'), join(state, 'io.containerd.')])])
}

/** `open: PROGRAM PATH` for each descriptor of any process on a path with one of these beginnings, deleted ones too. */
function openBelow(beginnings: readonly string[]): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const open = descriptorsOf(Number(pid)).filter((target) => beginnings.some((one) => target.startsWith(one)))
      if (open.length === 0) return []
      const program = ifThere(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
      return program === undefined ? [] : open.map((target) => `open: ${program} ${target}`)
    })
}

/**
 * Notes what a system has on disk and open; the function that it answers waits until nothing is there that was not then,
 * and throws with the list if something stays. For systems that nobody else uses meanwhile.
 */
export function noResidue(system: Directories): () => Promise<void> {
  const before = residueOf(system)
  return async () =>
    void (await until('blobs, ingests, snapshots and bundles to be gone', () => {
      const rest = [...residueOf(system)].filter((each) => !before.has(each))
      if (rest.length > 0) throw new Error(`left behind:\n${rest.join('\n')}`)
      return true
    }))
}
