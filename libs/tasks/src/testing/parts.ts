import { createHash } from 'node:crypto'
import { Container, type ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import {
  type ContentDefinition,
  WriteAction,
  WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { alreadyExists, notFound, type ServiceOf, unavailable } from '@flotilla/rpc'
import type { NodeTasksClient } from '../deps.ts'

type Containers = ServiceOf<typeof ContainersDefinition>
type Content = ServiceOf<typeof ContentDefinition>

/** A catalogue in a map. */
export function containersIn(catalogue: ReadonlyMap<string, Container>): Containers {
  return {
    async get({ id }: { id: string }) {
      const container = catalogue.get(id)
      if (!container) throw notFound(`container "${id}" in namespace "tests"`)
      return { container }
    },
    async list({ filters }: { filters: string[] }) {
      const node = /^labels\."flotilla\.io\/node"=="(.*)"$/.exec(filters[0] ?? '')?.[1]
      return { containers: [...catalogue.values()].filter(({ labels }) => labels['flotilla.io/node'] === node) }
    },
  } as Partial<Containers> as Containers
}

export function container(id: string, node?: string): Container {
  const labels: Record<string, string> = node === undefined ? {} : { 'flotilla.io/node': node }
  const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{"a":1}') }
  const options = { typeUrl: 'runtimeoptions.v1.Options', value: Buffer.from('o') }
  return Container.fromPartial({ id, labels, spec, runtime: { name: 'io.containerd.runc.v2', options } })
}

/** Blobs in a map, by digest. */
export function contentIn(blobs: Map<string, Buffer>): Content {
  return {
    async *write(requests) {
      let bytes = Buffer.alloc(0)
      for await (const { action, data, offset } of requests) {
        if (offset !== bytes.length) throw new Error(`offset ${offset} at ${bytes.length}`)
        bytes = Buffer.concat([bytes, data])
        if (action === WriteAction.COMMIT) {
          const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
          if (blobs.has(digest)) throw alreadyExists(`content ${digest}`)
          blobs.set(digest, bytes)
        }
        yield WriteContentResponse.fromPartial({ action, offset: bytes.length })
      }
    },
    async *read({ digest }) {
      const bytes = blobs.get(digest)
      if (!bytes) throw notFound(`content digest ${digest}`)
      for (let at = 0; at < bytes.length; at += 1000) yield { offset: at, data: bytes.subarray(at, at + 1000) }
    },
  } as Partial<Content> as Content
}

/** A node of which only some methods are asked; with none it is one that does not answer. */
export function nodeWith(methods: Partial<NodeTasksClient>): NodeTasksClient {
  return new Proxy(methods as NodeTasksClient, {
    get(target, name) {
      return Reflect.get(target, name) ?? (() => Promise.reject(unavailable('node "away" is not there')))
    },
  })
}
