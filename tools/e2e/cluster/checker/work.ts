import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Container, ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import {
  CreateImageRequest,
  ImagesDefinition,
  UpdateImageRequest,
} from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { ContentWriter } from '@flotilla/content-client'
import { type Call, makeCall, type ServiceDefinition, type ServiceOf, status } from '@flotilla/rpc'
import type { History, Told } from './history.ts'

export const namespace = 'checked'
export const blobOf = (id: string) => Buffer.from(`blob of ${id}`)
export const digestOf = (data: Uint8Array) => `sha256:${createHash('sha256').update(data).digest('hex')}`

export interface Worker {
  /** Of this worker alone. */
  readonly name: string
  /** Any node's socket; another one at another time. */
  at<D extends ServiceDefinition>(definition: D): ServiceOf<D>
  /** 0 to 1, the same in each run with the same seed. */
  readonly random: () => number
  readonly history: History
  /** Between two things to do it ends when this aborts. */
  readonly signal: AbortSignal
}

const call = (lease?: string): Call => makeCall({ namespace, timeout: 15_000, ...(lease ? { lease } : {}) })
const told = (kind: string, id: string): Told => ({ kind, id, may: [undefined], events: [], unknown: undefined })

/**
 * Makes, changes and deletes records until it is told to end, each known by no other worker. Of one whose call had no
 * answer it lets go: a call that is late may still be carried out.
 */
export async function work(worker: Worker): Promise<void> {
  const { history, name, random, signal } = worker
  const lives = [imageLife, containerLife, leaseLife]
  for (let i = 0; !signal.aborted; i++) {
    const life = lives[Math.floor(random() * lives.length)] ?? imageLife
    const unknown = history.unknown
    await life(worker, `${name}-${i}`)
    // What is away is not asked as fast as one can.
    if (history.unknown > unknown) await sleep(50)
  }
}

/** A blob under a lease, an image of it, changes, and for most the end. */
async function imageLife({ at, history, random }: Worker, id: string): Promise<void> {
  const lease = told('lease', `for-${id}`)
  const leased = await history.change(lease, 'lease', '', () =>
    at(LeasesDefinition).create({ id: lease.id, labels: {} }, call()),
  )
  if (leased !== 'done') return
  const data = blobOf(id)
  const digest = digestOf(data)
  const written = await history.attempt(
    async () => {
      await using writer = new ContentWriter(at(ContentDefinition), call(lease.id))
      await writer.send({ action: WriteAction.COMMIT, ref: id, data, total: data.length, expected: digest })
    },
    `write ${id}`,
    [],
  )
  if (written !== 'done') return
  const image = told('image', id)
  const record = (value: string) => ({
    name: id,
    labels: { value },
    target: { mediaType: 'application/octet-stream', digest, size: data.length, annotations: {} },
  })
  const made = await history.change(image, '0', '/images/create', () =>
    at(ImagesDefinition).create(CreateImageRequest.fromPartial({ image: record('0') }), call()),
  )
  if (made !== 'done') return
  // From now on the image holds the blob.
  await history.change(lease, undefined, '', () =>
    at(LeasesDefinition).delete({ id: lease.id, sync: random() < 0.2 }, call()),
  )
  for (let n = 1; random() < 0.5; n++) {
    const changed = await history.change(image, String(n), '/images/update', () =>
      at(ImagesDefinition).update(
        UpdateImageRequest.fromPartial({ image: record(String(n)), updateMask: ['labels'] }),
        call(),
      ),
    )
    if (changed !== 'done') return
  }
  if (random() < 0.7)
    await history.change(image, undefined, '/images/delete', () =>
      at(ImagesDefinition).delete({ name: id, sync: random() < 0.2 }, call()),
    )
}

/** Updates want one. */
const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') }

const containerRecord = (id: string, value: string): Container =>
  Container.fromPartial({ id, labels: { value }, runtime: { name: 'io.containerd.runc.v2' }, spec })

async function containerLife({ at, history, random }: Worker, id: string): Promise<void> {
  const container = told('container', id)
  const record = (value: string) => containerRecord(id, value)
  const made = await history.change(container, '0', '/containers/create', () =>
    at(ContainersDefinition).create({ container: record('0') }, call()),
  )
  if (made !== 'done') return
  for (let n = 1; random() < 0.6; n++) {
    const changed = await history.change(container, String(n), '/containers/update', () =>
      at(ContainersDefinition).update({ container: record(String(n)), updateMask: ['labels.value'] }, call()),
    )
    if (changed !== 'done') return
  }
  if (random() < 0.7)
    await history.change(container, undefined, '/containers/delete', () =>
      at(ContainersDefinition).delete({ id }, call()),
    )
}

async function leaseLife({ at, history, random }: Worker, id: string): Promise<void> {
  const lease = told('lease', id)
  const made = await history.change(lease, 'lease', '', () => at(LeasesDefinition).create({ id, labels: {} }, call()))
  if (made === 'done' && random() < 0.7)
    await history.change(lease, undefined, '', () => at(LeasesDefinition).delete({ id, sync: false }, call()))
}

/** All workers make the same container at the same moment, again and again: one may. */
export async function contend(workers: readonly Worker[], signal: AbortSignal): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const id = `contested-${i}`
    const outcomes = await Promise.all(
      workers.map(({ at, history, name }) =>
        history.attempt(
          () => at(ContainersDefinition).create({ container: containerRecord(id, name) }, call()),
          `create ${id}`,
          [status.ALREADY_EXISTS],
        ),
      ),
    )
    const count = (outcome: string) => outcomes.filter((one) => one === outcome).length
    const { history } = workers[0] as Worker
    if (count('done') > 1) history.complaints.push(`${id} was made ${count('done')} times`)
    if (count('done') + count('unknown') === 0) history.complaints.push(`${id} exists, say all, and nobody made it`)
    const one = told('container', id)
    one.may = count('unknown') === 0 ? workers.map(({ name }) => name) : [undefined, ...workers.map(({ name }) => name)]
    if (count('done') > 0) one.events.push('/containers/create')
    else one.unknown = '/containers/create'
    history.records.set(`container ${id}`, one)
    await sleep(100)
  }
}
