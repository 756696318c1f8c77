import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ContainerCreate, ContainerDelete, ContainerUpdate } from '@flotilla/api/containerd/events/events'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { type Entry, LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { readBlob } from '@flotilla/content-client'
import { makeCall } from '@flotilla/rpc'
import { seeded, until } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { History } from './history.ts'
import { blobOf, contend, digestOf, namespace, type Worker, work } from './work.ts'

/** How long they work: FLOTILLA_CHECK_MINUTES=10 by hand. */
const minutes = Number(process.env.FLOTILLA_CHECK_MINUTES ?? 0.4)
const seed = Number(process.env.FLOTILLA_CHECK_SEED ?? Date.now() % 1_000_000)
const names = ['a', 'b', 'c']

/** All events, as one node gives them to a subscriber that goes on where it was. */
async function follow(cluster: Cluster, node: string, into: Entry[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const request = { sequence: (into.at(-1)?.sequence ?? 0) + 1, filters: [], node: '', follow: true }
    try {
      for await (const entry of cluster.client(LogDefinition, node).read(request, makeCall({ signal })))
        into.push(entry)
    } catch {
      // The node, or the store behind it, is away for a moment.
      await sleep(100)
    }
  }
}

/** Kills something, and sees to it that it comes back. */
async function disturb(cluster: Cluster, random: () => number): Promise<string> {
  const pick = Math.floor(random() * 5)
  /** Tries again while it is only just being started again: then its file names nobody, or one who is gone. */
  const killServer = (name: string) =>
    until(`${name} to be there, to be killed`, () => {
      const pid = Number(readFileSync(join(cluster.dir, name, `${name}.pid`), 'utf8'))
      // 0 would be this very process and all that it started.
      return pid > 1 && process.kill(pid, 'SIGKILL')
    })
  if (pick < 3) {
    const node = names[pick] ?? 'a'
    await cluster.tell('kill', node)
    await sleep(500 + random() * 1_500)
    await cluster.tell('start', node)
    return `node ${node}`
  }
  // The process that runs them starts them again.
  const store = pick === 3 ? 'redis' : 'nats'
  await killServer(store)
  return store
}

const lineOf = ({ envelope, node, sequence }: Entry): string =>
  `${sequence} ${node} ${envelope?.namespace} ${envelope?.topic} ${envelope?.event?.value.toString('base64')}`

const idOf = ({ topic, event }: NonNullable<Entry['envelope']>): string => {
  const value = event?.value ?? Buffer.alloc(0)
  if (topic === '/containers/create') return ContainerCreate.decode(value).id
  if (topic === '/containers/update') return ContainerUpdate.decode(value).id
  // An image's name and a container's id are both the first field of their events.
  return ContainerDelete.decode(value).id
}

it(
  'what was acknowledged is there, each event once and in order, while nodes and stores are killed',
  async () => {
    await using cluster = await startCluster()
    const history = new History()
    const random = seeded(seed)
    const over = new AbortController()
    const listening = new AbortController()
    const logs = new Map(names.map((name) => [name, [] as Entry[]]))
    const followers = names.map((name) => follow(cluster, name, logs.get(name) ?? [], listening.signal))
    const workers = Array.from({ length: 6 }, (_, index): Worker => {
      const own = seeded(seed + index + 1)
      const at: Worker['at'] = (definition) => cluster.client(definition, names[Math.floor(own() * 3)] ?? 'a')
      return { name: `w${index}`, at, random: own, history, signal: over.signal }
    })
    const running = [...workers.map(work), contend(workers.slice(0, 3), over.signal)]
    const killed: string[] = []
    try {
      for (const end = Date.now() + minutes * 60_000; Date.now() < end; await sleep(1_000 + random() * 2_000))
        killed.push(await disturb(cluster, random))
    } finally {
      over.abort()
      await Promise.all(running)
    }
    for (const name of names) await cluster.sees('a', name, true, 15_000)

    // Each call has its own time: after ten minutes of work there are many.
    const call = () => makeCall({ namespace, timeout: 30_000 })
    const at = <D extends Parameters<Cluster['client']>[0]>(definition: D) => cluster.client(definition, 'b')
    const containers = (await at(ContainersDefinition).list({ filters: [] }, call())).containers
    const images = (await at(ImagesDefinition).list({ filters: [] }, call())).images
    const leases = (await at(LeasesDefinition).list({ filters: [] }, call())).leases
    history.compare('container', new Map(containers.map(({ id, labels }) => [id, labels.value ?? ''])))
    history.compare('image', new Map(images.map(({ labels, name }) => [name, labels.value ?? ''])))
    history.compare('lease', new Map(leases.map(({ id }) => [id, 'lease'])))

    // Each subscriber has had every number once, and all have had the same.
    const { last } = await at(LogDefinition).status({}, call())
    await until('all subscribers to have had everything', () =>
      [...logs.values()].every((entries) => (entries.at(-1)?.sequence ?? 0) >= last),
    )
    listening.abort()
    await Promise.all(followers)
    // As lines: the difference of thousands of events is not for people, nor for memory.
    const lines = (entries: readonly Entry[]) => entries.slice(0, last).map(lineOf)
    const reference = lines(logs.get('a') ?? [])
    for (const [name, entries] of logs) {
      const own = lines(entries)
      const gap = entries.findIndex(({ sequence }, index) => sequence !== index + 1)
      const other = own.findIndex((line, index) => line !== reference[index])
      expect({ name, gap, count: own.length, other, is: own[other] }).toEqual({
        name,
        gap: -1,
        count: last,
        other: -1,
        is: undefined,
      })
    }
    const eventsOf = (kind: string) => {
      const found = new Map<string, string[]>()
      for (const { envelope } of logs.get('a') ?? []) {
        if (envelope?.namespace !== namespace || !envelope.topic.startsWith(`/${kind}s/`)) continue
        const id = idOf(envelope)
        found.set(id, [...(found.get(id) ?? []), envelope.topic])
      }
      return found
    }
    history.compareEvents('container', eventsOf('container'))
    history.compareEvents('image', eventsOf('image'))

    // Collected: nothing reachable has gone, on no node, and nothing else stays, in records or on disks.
    for (const { id } of leases) await at(LeasesDefinition).delete({ id, sync: false }, call())
    await at(LeasesDefinition).create({ id: 'last', labels: {} }, call())
    await at(LeasesDefinition).delete({ id: 'last', sync: true }, call())
    const wanted = images.map(({ name }) => digestOf(blobOf(name))).toSorted()
    for (const { name } of images.slice(0, 100))
      for (const node of names) {
        const data = blobOf(name)
        expect(await readBlob(cluster.client(ContentDefinition, node), digestOf(data), data.length, call())).toEqual(
          data,
        )
      }
    const listed: string[] = []
    for await (const { info } of at(ContentDefinition).list({ filters: [] }, call()))
      listed.push(...info.map(({ digest }) => digest))
    expect(listed.toSorted()).toEqual(wanted)
    const onDisks = () =>
      names.flatMap((name) => {
        const blobs = join(cluster.dir, name, 'root/io.containerd.content.v1.content/blobs/sha256')
        return existsSync(blobs) ? readdirSync(blobs).map((hex) => ({ name, digest: `sha256:${hex}` })) : []
      })
    await until('the disks to have only what is listed', () => {
      const left = onDisks().filter(({ digest }) => !wanted.includes(digest))
      if (left.length > 0) throw new Error(`seed ${seed}, killed ${killed.join(', ')}: ${JSON.stringify(left)}`)
      return true
    })

    console.log(
      `seed ${seed}: ${history.done} calls done, ${history.unknown} without an answer, ${history.records.size} records, ` +
        `${last} events, ${images.length} images left; killed ${killed.join(', ')}`,
    )
    expect({ seed, complaints: history.complaints.slice(0, 20) }).toEqual({ seed, complaints: [] })
    expect(history.done).toBeGreaterThan(100)
  },
  minutes * 60_000 + 240_000,
)
