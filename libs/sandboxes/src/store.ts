import type { StoreDefinition } from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { Sandbox } from '@flotilla/api/containerd/types/types'
import { parseFilters, sandboxFields } from '@flotilla/filters'
import { encode, type Metadata, now, tables, updateRecord, withoutEmpty } from '@flotilla/metadata'
import { alreadyExists, invalidArgument, notFound, requireNamespace, type ServiceOf } from '@flotilla/rpc'
import { nodeHeader, nodeLabel } from './node-label.ts'
import { updatedSandbox, validateSandbox } from './update.ts'

export interface StoreDeps {
  readonly metadata: Metadata
  /** The node of sandboxes for which the caller says none. */
  readonly nodeName: string
}

const table = tables.sandboxes
const missing = (id: string) => notFound(`sandbox "${id}"`)
const resourceOf = (id: string) => ({ type: table, id })

/** Records of sandboxes in all namespaces. Whether one runs is no concern of theirs, and nothing tells of them. */
export function createSandboxStore({ metadata, nodeName }: StoreDeps): ServiceOf<StoreDefinition> {
  return {
    async create(request, call) {
      const namespace = requireNamespace(call)
      if (!request.sandbox) throw invalidArgument('sandbox is missing')
      validateSandbox(request.sandbox)
      const { labels, sandboxId: id } = request.sandbox
      const time = now()
      const node = call.metadata.get(nodeHeader) || labels[nodeLabel] || nodeName
      const sandbox: Sandbox = {
        ...request.sandbox,
        labels: { ...withoutEmpty(labels), [nodeLabel]: node },
        createdAt: time,
        updatedAt: time,
      }
      const outcome = await metadata.transact(namespace, {
        checks: [{ is: 'absent', table, field: id }],
        writes: [{ op: 'set', table, field: id, value: encode(Sandbox, sandbox) }],
        touches: [resourceOf(id)],
      })
      if (!outcome.ok) throw alreadyExists(`sandbox "${id}"`)
      return { sandbox }
    },

    async update(request, call) {
      const namespace = requireNamespace(call)
      const requested = request.sandbox
      if (!requested) throw invalidArgument('sandbox is missing')
      const id = requested.sandboxId
      const sandbox = await updateRecord(metadata, {
        namespace,
        table,
        field: id,
        type: Sandbox,
        missing: () => missing(id),
        change: (stored) => ({ ...updatedSandbox(stored, requested, request.fields), updatedAt: now() }),
        plan: () => ({ touches: [resourceOf(id)] }),
      })
      return { sandbox }
    },

    async get({ sandboxId }, call) {
      const bytes = await metadata.get(requireNamespace(call), table, sandboxId)
      if (bytes === undefined) throw missing(sandboxId)
      return { sandbox: Sandbox.decode(bytes) }
    },

    async list({ filters }, call) {
      const namespace = requireNamespace(call)
      const matcher = parseFilters(filters)
      const all = (await metadata.all(namespace, table)).map(([, bytes]) => Sandbox.decode(bytes))
      return { list: all.filter((sandbox) => matcher.matches(sandboxFields(sandbox))) }
    },

    async delete({ sandboxId }, call) {
      const outcome = await metadata.transact(requireNamespace(call), {
        checks: [{ is: 'present', table, field: sandboxId }],
        writes: [{ op: 'delete', table, field: sandboxId }],
        // What its labels referred to may be garbage now.
        deletions: 1,
      })
      if (!outcome.ok) throw notFound(`failed to delete sandbox "${sandboxId}"`)
      return {}
    },
  }
}
