import { existsSync } from 'node:fs'
import { Container, ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { Image, ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { VersionDefinition } from '@flotilla/api/containerd/services/version/v1/version'
import { LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { type Call, status } from '@flotilla/rpc'
import {
  startNats,
  startRedis,
  type TempWorld,
  type TestNats,
  type TestRedis,
  tempWorld,
  until,
} from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { connect } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Clients, callIn, connectTo, refusalOf } from '../harness/clients.ts'
import { type Fixture, makeFixture } from '../harness/fixture.ts'
import { rowsOf } from '../harness/output.ts'
import { startServices } from '../harness/services.ts'
import { endSharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { debian12 } from '../harness/versions.ts'
import { eventsSoFar, exitsIn } from './events.ts'
import { everyServiceAnswers, knownTasks, patience } from './places.ts'
import { tickerStatus, tickToFile } from './ticker.ts'

const digest = `sha256:${'a'.repeat(64)}`
const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 5 }
const snapshotter = 'overlayfs'
const image = (name: string) => ({ image: Image.fromPartial({ name, target }), sourceDateEpoch: undefined })

type Ask = (clients: Clients, call: Call) => Promise<unknown> | AsyncIterable<unknown>

/** Reads and writes of every service that needs records. The tasks of a node are listed without any. */
const asks: Readonly<Record<string, Ask>> = {
  'namespaces list': (c, call) => c.of(NamespacesDefinition).list({ filter: '' }, call),
  'namespaces create': (c, call) => c.of(NamespacesDefinition).create({ namespace: { name: 'new', labels: {} } }, call),
  'images list': (c, call) => c.of(ImagesDefinition).list({ filters: [] }, call),
  'images create': (c, call) => c.of(ImagesDefinition).create(image('new'), call),
  'containers get': (c, call) => c.of(ContainersDefinition).get({ id: 'one' }, call),
  'containers create': (c, call) =>
    c
      .of(ContainersDefinition)
      .create({ container: Container.fromPartial({ id: 'new', runtime: { name: 'io.containerd.runc.v2' } }) }, call),
  'containers list as a stream': (c, call) => c.of(ContainersDefinition).listStream({ filters: [] }, call),
  'leases create': (c, call) => c.of(LeasesDefinition).create({ id: 'new', labels: {} }, call),
  'leases delete, with a collection': (c, call) => c.of(LeasesDefinition).delete({ id: 'new', sync: true }, call),
  'content info': (c, call) => c.of(ContentDefinition).info({ digest }, call),
  'content list': (c, call) => c.of(ContentDefinition).list({ filters: [] }, call),
  'content write': (c, call) =>
    contentWriter(c.of(ContentDefinition), call).send({ action: WriteAction.STAT, ref: 'new' }),
  'snapshots list': (c, call) => c.of(SnapshotsDefinition).list({ snapshotter, filters: [] }, call),
  'snapshots prepare': (c, call) =>
    c.of(SnapshotsDefinition).prepare({ snapshotter, key: 'new', parent: '', labels: {} }, call),
  'tasks get': (c, call) => c.of(TasksDefinition).get({ containerId: 'one', execId: '' }, call),
  'events publish': (c, call) => c.of(EventsDefinition).publish({ topic: '/test', event: undefined }, call),
  'events subscribe': (c, call) => c.of(EventsDefinition).subscribe({ filters: [] }, call),
}

/** The numbers of the events in the stream at the NATS server. */
async function numbersInJetStream(url: string): Promise<number[]> {
  const nats = await connect({ servers: url, timeout: 5_000 })
  try {
    const { streams } = await nats.jetstreamManager()
    const { state } = await streams.info('FLOTILLA_EVENTS')
    const numbers: number[] = []
    for (let seq = state.first_seq; seq <= state.last_seq && state.messages > 0; seq++)
      numbers.push(Number((await streams.getMessage('FLOTILLA_EVENTS', { seq })).header.get('Flotilla-Sequence')))
    return numbers
  } finally {
    await nats.close()
  }
}

describe('stores that are given', () => {
  let world: TempWorld
  let redis: TestRedis
  let nats: TestNats
  let system: System
  let clients: Clients

  beforeAll(async () => {
    world = await tempWorld({ tmpfs: true, name: 'e2e' })
    redis = world.own(await startRedis())
    nats = world.own(await startNats())
    const urls = ['--redis', `unix://${redis.url}`, '--nats', nats.url]
    system = world.own(await (underTest === 'services' ? startServices : startStandalone)(world, urls))
    clients = connectTo(system.address)
  }, patience)
  afterAll(async () => {
    clients?.[Symbol.dispose]()
    await world?.[Symbol.asyncDispose]()
    await endSharedImage()
  })

  /** What a call comes to: an answer, or the code of a refusal. It has half a minute; who waits that long is late. */
  const refusal = async (ask: Ask, namespace: string) => (await refusalOf(ask(clients, callIn(namespace)))).code
  const unavailable = Object.fromEntries(Object.keys(asks).map((name) => [name, status.UNAVAILABLE]))
  const allRefusals = async (namespace: string) =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(asks).map(async ([name, ask]) => [name, await refusal(ask, namespace)] as const),
      ),
    )
  const noNumberMissing = () =>
    until('every event in JetStream', async () => {
      const { last } = await clients.of(LogDefinition).status({}, callIn('probe'))
      const numbers = await numbersInJetStream(nats.url)
      expect(numbers).toEqual(Array.from({ length: last }, (_, index) => index + 1))
      return last > 0
    })

  async function withFixture(body: (fixture: Fixture) => Promise<void>): Promise<void> {
    await using own = await tempWorld({ name: 'e2e-test' })
    const fixture = await makeFixture(system, debian12, own)
    let failed = true
    try {
      await body(fixture)
      failed = false
    } finally {
      if (redis.pid === undefined) await redis.restart()
      if (nats.pid === undefined) await nats.restart()
      await fixture.finish().catch((error: unknown) => {
        if (!failed) throw error
      })
    }
  }

  it(
    'Redis killed: calls are UNAVAILABLE, containers go on, an exit meanwhile is told once; then all works',
    () =>
      withFixture(async (fixture) => {
        const { ctr, pull, namespace } = fixture
        const reference = await pull()
        const one = await tickToFile(fixture, reference, 'one')
        const two = await tickToFile(fixture, reference, 'two')
        const topics: string[] = []
        const leave = new AbortController()
        const listening = (async () => {
          const call = { ...callIn(namespace), signal: leave.signal, deadline: undefined }
          for await (const { topic } of clients
            .of(EventsDefinition)
            .subscribe({ filters: [`namespace==${namespace}`] }, call))
            topics.push(topic)
        })().catch((error: unknown) => error)
        await until('the subscription', async () => {
          await clients.of(EventsDefinition).publish({ topic: '/test/before', event: undefined }, callIn(namespace))
          return topics.includes('/test/before')
        })

        await redis.kill()
        expect(await allRefusals(namespace)).toEqual(unavailable)
        await clients.of(VersionDefinition).version({}, callIn(namespace))
        await one.goesOn()
        process.kill(two.pid, 'SIGTERM')
        await until('the process to end', () => !existsSync(`/proc/${two.pid}`))
        expect(await allRefusals(namespace)).toEqual(unavailable)
        await redis.restart()

        await everyServiceAnswers(system)
        expect(rowsOf(await ctr('tasks', 'ls')).sort()).toEqual([
          ['one', String(one.pid), 'RUNNING'],
          ['two', String(two.pid), 'STOPPED'],
        ])
        await until('the exit, in an old subscription', () => topics.includes('/tasks/exit'))
        expect(exitsIn(await eventsSoFar(clients, namespace))).toMatchObject([
          { containerId: 'two', exitStatus: tickerStatus },
        ])
        expect(topics.filter((topic) => topic === '/tasks/exit')).toHaveLength(1)
        leave.abort()
        await listening
        await one.goesOn()
        expect(await ctr('run', '--rm', reference, 'three', 'echo', 'works')).toBe('works\n')
        await noNumberMissing()
      }),
    patience,
  )

  it(
    'Redis hung: calls are UNAVAILABLE; then all works',
    () =>
      withFixture(async ({ namespace }) => {
        const { pid } = redis
        if (pid === undefined) throw new Error('no Redis')
        process.kill(pid, 'SIGSTOP')
        try {
          expect(await allRefusals(namespace)).toEqual(unavailable)
        } finally {
          process.kill(pid, 'SIGCONT')
        }
        await everyServiceAnswers(system)
      }),
    patience,
  )

  it(
    'NATS killed, its store deleted: records and events work on, containers too; the stream is filled again',
    () =>
      withFixture(async (fixture) => {
        const { ctr, pull, namespace } = fixture
        const reference = await pull()
        const one = await tickToFile(fixture, reference, 'one')
        await noNumberMissing()

        await nats.kill()
        await nats.wipe()
        await clients.of(ImagesDefinition).create(image('meanwhile'), callIn(namespace))
        await clients
          .of(ImagesDefinition)
          .delete({ name: 'meanwhile', sync: false, target: undefined }, callIn(namespace))
        const seen = await eventsSoFar(clients, namespace)
        expect(seen.map(({ topic }) => topic)).toEqual(expect.arrayContaining(['/images/delete']))
        await one.goesOn()
        // Where the node is another process, the way to it is gone.
        const askNode = asks['tasks get'] as Ask
        if (underTest === 'services') expect(await refusal(askNode, namespace)).toBe(status.UNAVAILABLE)
        else await askNode(clients, callIn(namespace))
        await nats.restart()

        await everyServiceAnswers(system)
        expect(await knownTasks(ctr)).toEqual([['one', String(one.pid), 'RUNNING']])
        expect(await ctr('run', '--rm', reference, 'two', 'echo', 'works')).toBe('works\n')
        await noNumberMissing()
      }),
    patience,
  )

  it(
    'the store of NATS deleted while all of ours is stopped: the stream is filled again',
    () =>
      withFixture(async ({ namespace }) => {
        await clients.of(EventsDefinition).publish({ topic: '/test', event: undefined }, callIn(namespace))
        await noNumberMissing()
        await system.stop()
        await nats.kill()
        await nats.wipe()
        await nats.restart()
        await system.start()
        await noNumberMissing()
        expect((await eventsSoFar(clients, namespace)).map(({ topic }) => topic)).toEqual(['/test'])
      }),
    patience,
  )
})
