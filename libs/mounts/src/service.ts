import { randomUUID } from 'node:crypto'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { MountsDefinition } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import { ActivationInfo, type ActiveMount } from '@flotilla/api/containerd/types/types'
import { Activation } from '@flotilla/api/flotilla/metadata/v1/records'
import { activationFields, parseFilters } from '@flotilla/filters'
import type { Logger } from '@flotilla/log'
import {
  encode,
  type Metadata,
  maskedKey,
  mountsTable,
  now,
  tables,
  toMillis,
  updateRecord,
  validateLabels,
  withMaskedKey,
  withoutEmpty,
} from '@flotilla/metadata'
import {
  alreadyExists,
  invalidArgument,
  notFound,
  prefixed,
  requireNamespace,
  type ServiceOf,
  unimplemented,
} from '@flotilla/rpc'
import { isReferredTo } from './back-references.ts'
import { clear, mountAt } from './place.ts'
import { planMounts } from './plan.ts'

export interface MountsDeps {
  readonly metadata: Metadata
  readonly nodeName: string
  /** Directory for mounts; what is in it lives until the next reboot. */
  readonly directory: string
  /** Directories in which `mkdir/` may make some. */
  readonly roots: readonly string[]
  /** Milliseconds between two looks for activations that nothing wants any more. */
  readonly interval: number
  readonly logger: Logger
}

/** Names of our places. A containerd that was here before keeps a database and mounts of its own in the same directory. */
const ours = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export type MountsService = ServiceOf<typeof MountsDefinition> & AsyncDisposable

/** The activations of one node; first mends what an earlier run left. */
export async function createMountsService(deps: MountsDeps): Promise<MountsService> {
  const { directory, logger, metadata, nodeName, roots } = deps
  const table = mountsTable(nodeName)
  const missing = (name: string) => notFound(`mount "${name}"`)
  const place = (id: string) => join(directory, id)

  async function read(namespace: string, name: string): Promise<Activation> {
    const bytes = await metadata.get(namespace, table, name)
    const found = bytes && Activation.decode(bytes)
    if (!found?.info) throw missing(name)
    return found
  }

  async function remove(namespace: string, name: string, id: string): Promise<void> {
    await clear(place(id))
    await metadata.transact(namespace, { writes: [{ op: 'delete', table, field: name }], createsNamespace: false })
  }

  /** Whether what it was made for is gone: its lease, and all that its labels tie it to. */
  async function isUnwanted(namespace: string, { info, lease }: Activation): Promise<boolean> {
    const isLeased = lease !== '' && (await metadata.get(namespace, tables.leases, lease)) !== undefined
    if (isLeased) return false
    const isTied = await isReferredTo(metadata, namespace, nodeName, info?.labels ?? {})
    if (isTied === undefined) return lease !== ''
    // What it is tied to may be made after it.
    const since = info?.active[0]?.mountedAt
    return !isTied && since !== undefined && Date.now() - toMillis(since) > deps.interval
  }

  /** Removes what was half made, what a reboot took, and what nothing wants any more. */
  async function sweep(atStart: boolean): Promise<void> {
    const present = new Set((await readdir(directory)).filter((name) => ours.test(name)))
    for (const namespace of await metadata.namespaceNames()) {
      for (const [name, bytes] of await metadata.all(namespace, table)) {
        const activation = Activation.decode(bytes)
        const { id, info } = activation
        if ((await isUnwanted(namespace, activation)) || (atStart && (!info || !present.has(id))))
          await remove(namespace, name, id)
        else present.delete(id)
      }
    }
    if (atStart) for (const id of present) await clear(place(id))
  }

  await mkdir(directory, { recursive: true, mode: 0o700 })
  await sweep(true)
  let sweeping = Promise.resolve()
  const timer = setInterval(() => {
    sweeping = sweep(false).catch((err: unknown) =>
      logger.warn({ err }, 'mounts that nothing wants any more stay for now'),
    )
  }, deps.interval)
  timer.unref()

  return {
    async activate({ labels, mounts, name, temporary }, call) {
      const namespace = requireNamespace(call)
      if (name === '') throw invalidArgument('mount name must not be empty')
      validateLabels(labels, '')
      const plan = planMounts(mounts, temporary)
      if (plan.ours < 0) throw unimplemented('mounts that need no manager')
      const id = randomUUID()
      const reserved = Activation.fromPartial({ id, lease: call.lease ?? '' })
      const reservation = encode(Activation, reserved)
      const taken = await metadata.transact(namespace, {
        checks: [
          { is: 'absent', table, field: name },
          ...(call.lease ? [{ is: 'present', table: tables.leases, field: call.lease } as const] : []),
        ],
        writes: [{ op: 'set', table, field: name, value: reservation }],
      })
      if (!taken.ok) throw taken.check === 0 ? alreadyExists(`mount "${name}"`) : notFound('lease does not exist')
      try {
        await mkdir(place(id), { mode: 0o700 })
        const active: ActiveMount[] = []
        const system = []
        for (const [index, { mount: given, transforms }] of plan.mounts.entries()) {
          let mount = given
          if (index <= plan.ours) for (const transform of transforms) mount = await transform(mount, active, roots)
          if (index >= plan.ours) {
            system.push(mount)
            continue
          }
          const mountPoint = join(place(id), String(index + 1))
          await prefixed(`mount ${index + 1} of "${name}", ${mount.type}: `, () => mountAt(mount, mountPoint))
          active.push({ mount, mountPoint, mountedAt: now(), data: {} })
        }
        const last = active.at(-1)
        if (temporary && last) system.push({ type: 'bind', source: last.mountPoint, target: '', options: ['rbind'] })
        const info = ActivationInfo.fromPartial({ name, active, system, labels: withoutEmpty(labels) })
        const done = await metadata.transact(namespace, {
          checks: [{ is: 'equals', table, field: name, value: reservation }],
          writes: [{ op: 'set', table, field: name, value: encode(Activation, { ...reserved, info }) }],
        })
        if (!done.ok) throw missing(name)
        return { info }
      } catch (error) {
        await remove(namespace, name, id).catch((err: unknown) =>
          logger.error({ err, namespace, name }, 'an activation that failed left something behind'),
        )
        throw error
      }
    },

    async deactivate({ name }, call) {
      const namespace = requireNamespace(call)
      await remove(namespace, name, (await read(namespace, name)).id)
      return {}
    },

    async info({ name }, call) {
      return { info: (await read(requireNamespace(call), name)).info }
    },

    async update({ info: requested, updateMask }, call) {
      const namespace = requireNamespace(call)
      if (!requested) throw invalidArgument('mount info is missing')
      const { name } = requested
      const { info } = await updateRecord(metadata, {
        namespace,
        table,
        field: name,
        type: Activation,
        missing: () => missing(name),
        change: (stored) => {
          if (!stored.info) throw missing(name)
          let { labels } = stored.info
          for (const path of updateMask?.length ? updateMask : ['labels']) {
            const key = maskedKey(path, 'labels')
            if (key) labels = withMaskedKey(labels, requested.labels, key)
            else if (path === 'labels') labels = withoutEmpty(requested.labels)
            else throw invalidArgument(`cannot update "${path}" field on mount "${name}"`)
          }
          validateLabels(labels, '')
          return { ...stored, info: { ...stored.info, labels } }
        },
      })
      return { info }
    },

    async *list({ filters }, call) {
      const matcher = parseFilters(filters)
      for (const [, bytes] of await metadata.all(requireNamespace(call), table)) {
        const { info } = Activation.decode(bytes)
        if (info && matcher.matches(activationFields(info))) yield { info }
      }
    },

    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await sweeping
    },
  }
}
