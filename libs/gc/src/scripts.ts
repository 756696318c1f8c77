import { readFileSync } from 'node:fs'
import { asked, keyOf, type Metadata, tables } from '@flotilla/metadata'

const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')

/** Ids that matter while a collection sweeps; see the README. */
export const watchTable = 'gc-watch'

interface Scripted {
  flotillaGcDrain(run: string, dirty: string, id: string, count: number): Promise<string[] | null>
  flotillaGcChanged(memory: string, changed: string, mark: string, count: number): Promise<string[] | null>
  flotillaGcDischarge(keyCount: number, ...rest: Array<string | number>): Promise<number>
}

/** The collector's own Redis functions, on the connection of a metadata store. */
function scriptsOf(metadata: Metadata): Scripted {
  const redis = metadata.redis
  if (!('flotillaGcDrain' in redis)) {
    redis.defineCommand('flotillaGcDrain', { lua: read('drain'), numberOfKeys: 2 })
    redis.defineCommand('flotillaGcChanged', { lua: read('changed'), numberOfKeys: 2 })
    redis.defineCommand('flotillaGcDischarge', { lua: read('discharge') })
  }
  return redis as unknown as Scripted
}

/** Takes up to `count` entries off a run's dirty list; undefined when the run is no more. */
export async function drain(
  metadata: Metadata,
  namespace: string,
  run: string,
  count: number,
): Promise<string[] | undefined> {
  const keys = [keyOf(namespace, tables.gcRun), keyOf(namespace, tables.gcDirty)] as const
  return (await asked(scriptsOf(metadata).flotillaGcDrain(...keys, run, count))) ?? undefined
}

/**
 * Takes up to `count` records (`TABLE\0FIELD`) off the set of those that changed since a memory with this mark was
 * made; undefined when the set is no more about it.
 */
export async function takeChanged(
  metadata: Metadata,
  namespace: string,
  mark: string,
  count: number,
): Promise<string[] | undefined> {
  const keys = [keyOf(namespace, tables.gcMemory), keyOf(namespace, tables.gcChanged)] as const
  return (await asked(scriptsOf(metadata).flotillaGcChanged(...keys, mark, count))) ?? undefined
}

/**
 * Takes entries off a run's dirty list that cannot matter to what is in the watch set. Sent at once when called, so a
 * transaction called right after it follows it closely.
 *
 * @param types the type (`content`, `snapshots/overlayfs`) of each table in which records are
 * @param stores how many snapshot stores are among the tables
 */
export function discharge(
  metadata: Metadata,
  namespace: string,
  run: string,
  types: ReadonlyArray<{ readonly type: string; readonly table: string }>,
  stores: number,
): Promise<number> {
  const names = [tables.gcRun, tables.gcDirty, watchTable, tables.snapshotStores, ...types.map(({ table }) => table)]
  const keys = names.map((table) => keyOf(namespace, table))
  const args = [run, String(stores), ...types.map(({ type }) => type)]
  return asked(scriptsOf(metadata).flotillaGcDischarge(keys.length, ...keys, ...args))
}
