import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { Envelope } from '@flotilla/api/containerd/types/types'
import { type Entry, LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { createLogger } from '@flotilla/log'
import { createMetadata, type Metadata } from '@flotilla/metadata'
import { clientOf, connect as connectRpc, createRpcServer, makeCall, type ServiceOf } from '@flotilla/rpc'
import { startRedis, type TestRedis, tempWorld } from '@flotilla/testing'
import { createEventsService, type EventsDeps, type EventsService } from './service.ts'

/** For tests: logs only what is worse than expected interruptions. */
export const quiet = createLogger({ level: 'fatal', name: 'events-test' })

/** A store with its services, for one test. */
export interface EventsWorld extends AsyncDisposable {
  readonly redis: TestRedis
  readonly metadata: Metadata
  readonly service: EventsService
  /** One more events service on the same store, as in another process. */
  another(deps?: Partial<EventsDeps>): Promise<EventsService>
  /** The service over gRPC on a unix socket. */
  overGrpc(): Promise<{ events: ServiceOf<EventsDefinition>; log: ServiceOf<LogDefinition>; address: string }>
}

export async function eventsWorld(options: { durable?: boolean; deps?: Partial<EventsDeps> } = {}) {
  const owned = new AsyncDisposableStack()
  const redis = owned.use(await startRedis({ relaxed: !options.durable }))
  const build = async (deps: Partial<EventsDeps> = {}) => {
    const metadata = owned.use(await createMetadata({ url: redis.url, origin: 'n1' }))
    const service = owned.use(createEventsService({ metadata, nodeName: 'n1', logger: quiet, ...deps }))
    return { metadata, service }
  }
  const { metadata, service } = await build(options.deps)
  const world: EventsWorld = {
    redis,
    metadata,
    service,
    another: async (deps) => (await build(deps)).service,
    async overGrpc() {
      const dir = owned.use(await tempWorld({ name: 'events', tmpfs: true }))
      const server = createRpcServer()
      owned.defer(() => server.close(0))
      server.add(EventsDefinition, service)
      server.add(LogDefinition, service.log)
      const address = await server.listen(`unix://${dir.join('events.sock')}`)
      const channel = connectRpc(address)
      owned.defer(() => channel.close())
      return { events: clientOf(EventsDefinition, channel), log: clientOf(LogDefinition, channel), address }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
  return world
}

/** Publishes an event whose payload is a text. */
export async function say(service: ServiceOf<EventsDefinition>, text: string, namespace = 'default', topic = '/test') {
  await service.publish({ topic, event: { typeUrl: 'test.Text', value: Buffer.from(text) } }, makeCall({ namespace }))
}

export const textOf = (envelope: Envelope | undefined): string => Buffer.from(envelope?.event?.value ?? []).toString()
export const entryText = (entry: Entry): string => textOf(entry.envelope)

/** Takes so many from a stream and ends it. */
export async function take<T>(count: number, stream: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = []
  if (count === 0) return taken
  for await (const item of stream) {
    taken.push(item)
    if (taken.length === count) break
  }
  return taken
}

/** All texts of the log, read to its end. */
export async function wholeLog(service: EventsService): Promise<string[]> {
  const texts: string[] = []
  const request = { sequence: 0, filters: [], node: '', follow: false }
  for await (const entry of service.log.read(request, makeCall())) texts.push(entryText(entry))
  return texts
}

/** `PREFIX0` … */
export const numbered = (count: number, prefix = ''): string[] => Array.from({ length: count }, (_, i) => prefix + i)
