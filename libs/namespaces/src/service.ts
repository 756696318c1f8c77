import { NamespaceCreate, NamespaceUpdate } from '@flotilla/api/containerd/events/events'
import { Namespace, type NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import {
  encode,
  eventOf,
  type Metadata,
  maskedKey,
  tables,
  validateLabels,
  withMaskedKey,
  withoutEmpty,
} from '@flotilla/metadata'
import { aborted, alreadyExists, invalidArgument, type ServiceOf, validateIdentifier } from '@flotilla/rpc'
import { deleteNamespace } from './delete.ts'

export interface NamespacesDeps {
  readonly metadata: Metadata
}

const field = 'record'
const labelsPrefix = 'namespace.Labels: '

/** The labels as an update leaves them. A mask may name single labels only; without paths all are replaced. */
function updatedLabels(
  stored: Readonly<Record<string, string>>,
  requested: Readonly<Record<string, string>>,
  mask: readonly string[] | undefined,
): Record<string, string> {
  if (mask === undefined || mask.length === 0) return withoutEmpty(requested)
  let labels = { ...stored }
  for (const path of mask) {
    const key = maskedKey(path, 'labels')
    if (key === undefined || key === '') throw invalidArgument(`cannot update "${path}" field`)
    labels = withMaskedKey(labels, requested, key)
  }
  return labels
}

/** The catalogue of namespaces. None of its methods reads the call's own namespace. */
export function createNamespacesService({ metadata }: NamespacesDeps): ServiceOf<NamespacesDefinition> {
  const read = async (name: string) => {
    const bytes = await metadata.get(name, tables.namespace, field)
    return bytes === undefined ? undefined : Namespace.decode(bytes)
  }

  return {
    async get({ name }) {
      return { namespace: (await read(name)) ?? Namespace.fromPartial({ name }) }
    },

    async list() {
      const names = await metadata.namespaceNames()
      const found = await Promise.all(names.map(read))
      return { namespaces: found.filter((namespace) => namespace !== undefined) }
    },

    async create(request) {
      const { name, labels } = request.namespace ?? Namespace.fromPartial({})
      validateIdentifier(name)
      validateLabels(labels, labelsPrefix)
      const namespace = { name, labels: withoutEmpty(labels) }
      const outcome = await metadata.transact(name, {
        checks: [{ is: 'absent', table: tables.namespace, field }],
        writes: [{ op: 'set', table: tables.namespace, field, value: encode(Namespace, namespace) }],
        events: [eventOf('/namespaces/create', 'containerd.events.NamespaceCreate', NamespaceCreate, { name, labels })],
      })
      if (!outcome.ok) throw alreadyExists(`namespace "${name}"`)
      return { namespace }
    },

    async update(request) {
      const { name, labels } = request.namespace ?? Namespace.fromPartial({})
      validateIdentifier(name)
      let stored = await metadata.get(name, tables.namespace, field)
      // As in containerd, the update of a namespace that does not exist makes it.
      for (let attempt = 0; attempt < 1_000; attempt++) {
        const before = stored === undefined ? {} : Namespace.decode(stored).labels
        const namespace = { name, labels: updatedLabels(before, labels, request.updateMask) }
        validateLabels(namespace.labels, labelsPrefix)
        const outcome = await metadata.transact(name, {
          checks: [
            stored === undefined
              ? { is: 'absent', table: tables.namespace, field }
              : { is: 'equals', table: tables.namespace, field, value: stored },
          ],
          writes: [{ op: 'set', table: tables.namespace, field, value: encode(Namespace, namespace) }],
          events: [
            eventOf('/namespaces/update', 'containerd.events.NamespaceUpdate', NamespaceUpdate, { name, labels }),
          ],
        })
        if (outcome.ok) return { namespace }
        stored = outcome.current
      }
      throw aborted(`namespace "${name}" is being changed by too many callers`)
    },

    async delete({ name }) {
      await deleteNamespace(metadata, name)
      return {}
    },
  }
}
