import { Lease, type LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import type { CollectorDefinition } from '@flotilla/api/flotilla/gc/v1/gc'
import { leaseFields, parseFilters } from '@flotilla/filters'
import {
  type Check,
  encode,
  leaseTable,
  type Metadata,
  now,
  parseResourceMember,
  tables,
  withoutEmpty,
} from '@flotilla/metadata'
import { alreadyExists, notFound, requireNamespace, type ServiceOf, unknown } from '@flotilla/rpc'
import { generateLeaseId } from './lease-id.ts'
import { parseResource } from './resource.ts'

export interface LeasesDeps {
  readonly metadata: Metadata
  /** Runs a collection when a deletion is to be synchronous. */
  readonly collector: ServiceOf<CollectorDefinition>
}

const missing = (id: string) => notFound(`lease "${id}"`)
const exists = (id: string): Check => ({ is: 'present', table: tables.leases, field: id })

/** Leases of all namespaces and what they hold. */
export function createLeasesService({ metadata, collector }: LeasesDeps): ServiceOf<LeasesDefinition> {
  return {
    async create(request, call) {
      const namespace = requireNamespace(call)
      const id = request.id === '' ? generateLeaseId() : request.id
      // Alone of all labels these have no limit upstream.
      const lease: Lease = { id, createdAt: now(), labels: withoutEmpty(request.labels) }
      const outcome = await metadata.transact(namespace, {
        checks: [{ is: 'absent', table: tables.leases, field: id }],
        writes: [{ op: 'set', table: tables.leases, field: id, value: encode(Lease, lease) }],
        touches: [{ type: tables.leases, id }],
      })
      if (!outcome.ok) throw alreadyExists(`lease "${id}"`)
      return { lease }
    },

    async delete({ id, sync }, call) {
      const outcome = await metadata.transact(requireNamespace(call), {
        checks: [exists(id)],
        writes: [
          { op: 'delete', table: tables.leases, field: id },
          { op: 'drop', table: leaseTable(id) },
        ],
        deletions: 1,
      })
      if (!outcome.ok) throw missing(id)
      if (!sync) return {}
      try {
        await collector.collect({}, call)
      } catch (error) {
        // The lease is gone all the same.
        throw unknown('gc failed', { cause: error })
      }
      return {}
    },

    async list({ filters }, call) {
      const matcher = parseFilters(filters)
      const rows = await metadata.all(requireNamespace(call), tables.leases)
      return {
        leases: rows.map(([, bytes]) => Lease.decode(bytes)).filter((each) => matcher.matches(leaseFields(each))),
      }
    },

    async addResource({ id, resource }, call) {
      const joining = parseResource(resource)
      const outcome = await metadata.transact(requireNamespace(call), {
        checks: [exists(id)],
        lease: { id, add: [joining] },
      })
      if (!outcome.ok) throw missing(id)
      return {}
    },

    async deleteResource({ id, resource }, call) {
      const leaving = parseResource(resource)
      const outcome = await metadata.transact(requireNamespace(call), {
        checks: [exists(id)],
        lease: { id, remove: [leaving] },
        deletions: 1,
      })
      if (!outcome.ok) throw missing(id)
      return {}
    },

    async listResources({ id }, call) {
      const namespace = requireNamespace(call)
      const [lease, members] = await Promise.all([
        metadata.get(namespace, tables.leases, id),
        metadata.members(namespace, leaseTable(id)),
      ])
      if (lease === undefined) throw missing(id)
      // In byte order the types come as clients know them: content, images, ingests, snapshots.
      return { resources: members.map(parseResourceMember) }
    },
  }
}
