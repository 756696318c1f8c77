import { Progress as ProgressMessage } from '@flotilla/api/containerd/types/transfer/transfer'
import type { Descriptor as WireDescriptor } from '@flotilla/api/containerd/types/types'
import { type Descriptor, refOf } from '@flotilla/oci'
import { pack } from './any.ts'
import { toWire } from './descriptor.ts'
import type { OpenStream } from './open-stream.ts'
import { progress as progressType } from './types.ts'

/** Milliseconds between two reports of how far one descriptor has come. */
const reportEvery = 300

/** Tells a client what happens. Without a stream nobody hears it. */
export class Progress implements AsyncDisposable {
  readonly #stream: OpenStream | undefined
  #sent: Promise<void> = Promise.resolve()
  #unsent = 0
  #lastNamed: (() => void) | undefined

  constructor(stream: OpenStream | undefined) {
    this.#stream = stream
  }

  /** Whether the client is far behind. */
  get isBehind(): boolean {
    return this.#unsent > 100
  }

  report(event: string, about: { readonly [K in keyof ProgressMessage]?: ProgressMessage[K] } = {}): void {
    const stream = this.#stream
    if (stream === undefined) return
    if (about.name && event !== 'saved') this.#lastNamed = () => this.report(event, about)
    const message = pack(progressType, ProgressMessage.fromPartial({ event, ...about }))
    this.#unsent++
    this.#sent = this.#sent.then(async () => {
      // A client that does not listen any more gets its transfer all the same.
      await stream.send(message).catch(() => {})
      this.#unsent--
    })
  }

  /**
   * Says that it is done. A client draws when something with a name changes, so the last of these is said again; but not
   * that an image was saved, since clients count the images.
   */
  conclude(event: string, about: { readonly desc?: WireDescriptor } = {}): void {
    this.report(event, about)
    this.#lastNamed?.()
  }

  /** Returns when the client has heard everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sent
    this.#stream?.close()
  }
}

interface Job {
  readonly parents: string[]
  readonly descriptor: Descriptor
  offset: number
  reported: number
}

/** How far the parts of one image have come. To be disposed, which tells what was not told. */
export class Tracker implements Disposable {
  readonly #progress: Progress
  readonly #root: string
  readonly #moving: string
  readonly #jobs = new Map<string, Job>()
  readonly #parents = new Map<string, string[]>()
  readonly #timer: NodeJS.Timeout

  /**
   * @param root name of the image, under which parts without a parent are shown
   * @param moving what parts are said to do: downloading, uploading
   */
  constructor(progress: Progress, root: string, moving: string) {
    this.#progress = progress
    this.#root = root
    this.#moving = moving
    this.#timer = setInterval(() => this.#tick(), reportEvery)
  }

  /** Says what the children of a descriptor are, before they are added. */
  children(parent: Descriptor, children: readonly Descriptor[]): void {
    for (const child of children) {
      const known = this.#parents.get(child.digest) ?? []
      known.push(refOf(parent))
      this.#parents.set(child.digest, known)
    }
  }

  add(descriptor: Descriptor): void {
    if (this.#jobs.has(descriptor.digest)) return
    const parents = this.#parents.get(descriptor.digest) ?? [this.#root]
    this.#jobs.set(descriptor.digest, { parents, descriptor, offset: 0, reported: 0 })
    this.#say('waiting', descriptor, 0)
  }

  /** @param offset bytes that are through */
  moved(descriptor: Descriptor, offset: number): void {
    const job = this.#jobs.get(descriptor.digest)
    if (job !== undefined) job.offset = offset
  }

  ended(descriptor: Descriptor, event: 'complete' | 'already exists' | 'extracting' | 'extracted'): void {
    const job = this.#jobs.get(descriptor.digest)
    if (job !== undefined) job.reported = job.offset = descriptor.size
    this.#say(event, descriptor, descriptor.size)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    if (this.#progress.isBehind) return
    for (const job of this.#jobs.values()) {
      if (job.offset <= job.reported) continue
      job.reported = job.offset
      this.#say(this.#moving, job.descriptor, job.offset)
    }
  }

  #say(event: string, descriptor: Descriptor, progress: number): void {
    this.#progress.report(event, {
      name: refOf(descriptor),
      parents: this.#jobs.get(descriptor.digest)?.parents ?? [],
      progress,
      total: descriptor.size,
      desc: toWire(descriptor),
    })
  }
}
