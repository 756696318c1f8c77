import { ContainerCreate, ContainerDelete, ContainerUpdate } from '@flotilla/api/containerd/events/events'
import { Container, type ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { containerFields, parseFilters } from '@flotilla/filters'
import { encode, eventOf, type Metadata, now, tables, updateRecord, withoutEmpty } from '@flotilla/metadata'
import {
  alreadyExists,
  type Call,
  invalidArgument,
  notFound,
  requireNamespace,
  type ServiceOf,
  storedAnswer,
} from '@flotilla/rpc'
import { containerPages } from './pages.ts'
import { placementLabels, type Schedule } from './placement.ts'
import { updatedContainer } from './update.ts'
import { validateContainer } from './validate.ts'

export interface ContainersDeps {
  readonly metadata: Metadata
  /** The node of containers for which nothing else says one. */
  readonly nodeName?: string
  /** Chooses a node where nothing says one; without it that is `nodeName`. */
  readonly schedule?: Schedule
}

const missing = (id: string, namespace: string) => notFound(`container "${id}" in namespace "${namespace}"`)
const resourceOf = (id: string) => ({ type: tables.containers, id })

/** Container records of all namespaces. Whether a task runs is no concern of theirs. */
export function createContainersService(deps: ContainersDeps): ServiceOf<ContainersDefinition> {
  const { metadata } = deps

  const answerOf = (bytes: Buffer) => storedAnswer('container', Container, bytes)

  async function* selected(filters: readonly string[], call: Call): AsyncGenerator<{ container: Container }[]> {
    const namespace = requireNamespace(call)
    const matcher = parseFilters(filters)
    for await (const page of containerPages(metadata, namespace)) {
      call.signal.throwIfAborted()
      const answers = page.map(answerOf)
      yield matcher.matchesAll
        ? answers
        : answers.filter(({ container }) => matcher.matches(containerFields(container)))
    }
  }

  return {
    async get({ id }, call) {
      const namespace = requireNamespace(call)
      const bytes = await metadata.get(namespace, tables.containers, id)
      if (bytes === undefined) throw missing(id, namespace)
      return answerOf(bytes)
    },

    async list({ filters }, call) {
      const pages = await Array.fromAsync(selected(filters, call))
      return { containers: pages.flat().map(({ container }) => container) }
    },

    async *listStream({ filters }, call) {
      // One by one: `yield*` would make each wait for three promises more.
      for await (const page of selected(filters, call)) for (const answer of page) yield answer
    },

    async create(request, call) {
      const namespace = requireNamespace(call)
      const requested = request.container ?? Container.fromPartial({})
      validateContainer(requested, 'create container failed validation: ')
      const placement = await placementLabels(deps, namespace, requested, call)
      const time = now()
      const container: Container = {
        ...requested,
        labels: { ...withoutEmpty(requested.labels), ...placement },
        createdAt: time,
        updatedAt: time,
      }
      const { id, image, runtime } = container
      const outcome = await metadata.transact(namespace, {
        checks: [{ is: 'absent', table: tables.containers, field: id }],
        writes: [{ op: 'set', table: tables.containers, field: id, value: encode(Container, container) }],
        events: [
          eventOf('/containers/create', 'containerd.events.ContainerCreate', ContainerCreate, { id, image, runtime }),
        ],
        touches: [resourceOf(id)],
      })
      if (!outcome.ok) throw alreadyExists(`container "${id}"`)
      return { container }
    },

    async update(request, call) {
      const requested = request.container ?? Container.fromPartial({})
      const { id } = requested
      if (id === '') throw invalidArgument('Container.ID required')
      const namespace = requireNamespace(call)
      const container = await updateRecord(metadata, {
        namespace,
        table: tables.containers,
        field: id,
        type: Container,
        missing: () => missing(id, namespace),
        change: (stored) => ({ ...updatedContainer(stored, requested, request.updateMask), updatedAt: now() }),
        plan: ({ image, labels, snapshotKey }) => ({
          events: [
            eventOf('/containers/update', 'containerd.events.ContainerUpdate', ContainerUpdate, {
              id,
              image,
              labels,
              snapshotKey,
            }),
          ],
          touches: [resourceOf(id)],
        }),
      })
      return { container }
    },

    async delete({ id }, call) {
      const outcome = await metadata.transact(requireNamespace(call), {
        checks: [{ is: 'present', table: tables.containers, field: id }],
        writes: [{ op: 'delete', table: tables.containers, field: id }],
        events: [eventOf('/containers/delete', 'containerd.events.ContainerDelete', ContainerDelete, { id })],
        deletions: 1,
      })
      if (!outcome.ok) throw notFound(`container ${id}`)
      return {}
    },
  }
}
