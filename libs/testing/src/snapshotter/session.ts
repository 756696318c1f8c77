import { randomUUID } from 'node:crypto'
import type { Info, SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { withTempMount } from '@flotilla/linux'
import { type Call, makeCall, type ServiceOf } from '@flotilla/rpc'

/** A snapshots service with one driver to be examined. The suite disposes it. */
export interface SnapshotsUnderTest extends AsyncDisposable {
  readonly service: ServiceOf<SnapshotsDefinition>
  readonly snapshotter: string
  /** What the driver says it can do, such as `rebase`. */
  readonly capabilities: readonly string[]
  /** The names of all directories that the driver keeps, half-made ones included. */
  directories(): Promise<string[]>
  /** Removes the directories that no record names, whatever their age. */
  collect(): Promise<void>
}

type Labels = Record<string, string>

/** The service as one case sees it: a namespace of its own, few words for each call. */
export class Session {
  readonly tested: SnapshotsUnderTest
  readonly call: Call
  readonly #snapshotter: string

  constructor(tested: SnapshotsUnderTest, namespace: string) {
    this.tested = tested
    this.call = makeCall({ namespace })
    this.#snapshotter = tested.snapshotter
  }

  async prepare(key: string, parent = '', labels: Labels = {}): Promise<Mount[]> {
    const request = { snapshotter: this.#snapshotter, key, parent, labels }
    return (await this.tested.service.prepare(request, this.call)).mounts
  }

  async view(key: string, parent = '', labels: Labels = {}): Promise<Mount[]> {
    const request = { snapshotter: this.#snapshotter, key, parent, labels }
    return (await this.tested.service.view(request, this.call)).mounts
  }

  async mounts(key: string): Promise<Mount[]> {
    return (await this.tested.service.mounts({ snapshotter: this.#snapshotter, key }, this.call)).mounts
  }

  async commit(name: string, key: string, labels: Labels = {}, parent = ''): Promise<void> {
    await this.tested.service.commit({ snapshotter: this.#snapshotter, name, key, labels, parent }, this.call)
  }

  async remove(key: string): Promise<void> {
    await this.tested.service.remove({ snapshotter: this.#snapshotter, key }, this.call)
  }

  async stat(key: string): Promise<Info> {
    const { info } = await this.tested.service.stat({ snapshotter: this.#snapshotter, key }, this.call)
    if (info === undefined) throw new Error(`Stat of ${key} answered nothing`)
    return info
  }

  async usage(key: string): Promise<{ size: number; inodes: number }> {
    const { size, inodes } = await this.tested.service.usage({ snapshotter: this.#snapshotter, key }, this.call)
    return { size, inodes }
  }

  /** The messages of a List, each as names. */
  async groups(...filters: string[]): Promise<string[][]> {
    const groups: string[][] = []
    const stream = this.tested.service.list({ snapshotter: this.#snapshotter, filters }, this.call)
    for await (const { info } of stream) groups.push(info.map(({ name }) => name))
    return groups
  }

  async names(...filters: string[]): Promise<string[]> {
    return (await this.groups(...filters)).flat()
  }

  /** Runs `use` with a directory where the mounts are. */
  async inside<T>(mounts: readonly Mount[], use: (root: string) => Promise<T> | T): Promise<T> {
    return await withTempMount(mounts, {}, async (root) => await use(root))
  }

  /** Commits a layer made by `change` upon a parent, and gives its name. */
  async layer(parent: string, change: (root: string) => Promise<void> | void, name = `layer-${randomUUID()}`) {
    const key = `key of ${name}`
    await this.inside(await this.prepare(key, parent), change)
    await this.commit(name, key)
    return name
  }

  /** Looks at a committed layer through a view. */
  async look<T>(name: string, use: (root: string) => Promise<T> | T): Promise<T> {
    const key = `view-${randomUUID()}`
    const answer = await this.inside(await this.view(key, name), use)
    await this.remove(key)
    return answer
  }
}
