import { createHash } from 'node:crypto'
import {
  type ContentDefinition,
  type Info,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { afterAll, beforeAll, expect } from 'vitest'
import { type ContentWriter, contentWriter } from '../content-writer.ts'

/** A content store to be examined, with what the suite cannot do through its interface. The suite disposes it. */
export interface ContentStoreUnderTest extends AsyncDisposable {
  readonly content: ServiceOf<typeof ContentDefinition>
  /** Makes an empty lease. */
  createLease(namespace: string, id: string): Promise<void>
  /** What a lease holds, as `TYPE ID`, sorted. */
  leaseResources(namespace: string, id: string): Promise<string[]>
  /** Topics of all events of a namespace, the oldest first. */
  topics(namespace: string): Promise<string[]>
}

export const bytes = (text: string) => Buffer.from(text)
export const digestOf = (data: Uint8Array | string, algorithm = 'sha256') =>
  `${algorithm}:${createHash(algorithm).update(data).digest('hex')}`
/** The digest of no bytes. */
export const nothing = digestOf('')

/** Matches an error of this code and, if given, text. */
export const code = (wanted: keyof typeof status, message?: RegExp) => ({
  code: status[wanted],
  message: message === undefined ? expect.any(String) : expect.stringMatching(message),
})
/** A pattern for exactly this text. */
export const exactly = (text: string) => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}$`)

/** What the cases work with: the store, and the steps that they are made of. */
export interface Bench {
  readonly store: ContentStoreUnderTest
  readonly content: ServiceOf<typeof ContentDefinition>
  /** The name of a namespace nobody has used yet. */
  namespace(): string
  /** A call in such a namespace. */
  fresh(changes?: Partial<Call>): Call
  /** Bytes nobody has stored yet. */
  novel(length?: number): Buffer
  /** Opens a writer for the length of one block; a failed case leaves no open stream behind. */
  writing<T>(call: Call, work: (writer: ContentWriter) => Promise<T>): Promise<T>
  /** A stream of these messages; answers what came back. */
  send(call: Call, ...messages: Array<Partial<WriteContentRequest>>): Promise<WriteContentResponse[]>
  /** Stores a blob the shortest way; answers its digest. */
  put(call: Call, data: Buffer, labels?: Record<string, string>): Promise<string>
  read(call: Call, digest: string, offset?: number, size?: number): Promise<Buffer>
  /** The groups in which a list comes. */
  list(call: Call, ...filters: string[]): Promise<Info[][]>
  /** The refs of ListStatuses, sorted. */
  refs(call: Call, ...filters: string[]): Promise<string[]>
  infoOf(call: Call, digest: string): Promise<Info | undefined>
}

/** Starts the store before the cases of the enclosing `describe`, and disposes it after them. */
export function contentBench(start: () => Promise<ContentStoreUnderTest>): Bench {
  let store: ContentStoreUnderTest | undefined
  let made = 0
  beforeAll(async () => {
    store = await start()
  })
  afterAll(() => store?.[Symbol.asyncDispose]())

  const bench: Bench = {
    get store() {
      if (store === undefined) throw new Error('the store has not started')
      return store
    },
    get content() {
      return bench.store.content
    },
    namespace: () => `suite-${++made}`,
    fresh: (changes = {}) => ({ ...makeCall({ namespace: bench.namespace() }), ...changes }),
    novel: (length = 20) => Buffer.from(`${++made} `.padEnd(length, 'novel ')),
    async writing(call, work) {
      const end = new AbortController()
      const writer = contentWriter(bench.content, { ...call, signal: AbortSignal.any([call.signal, end.signal]) })
      try {
        return await work(writer)
      } finally {
        await writer.end().catch(() => {})
        end.abort()
      }
    },
    send: (call, ...messages) =>
      bench.writing(call, async (writer) => {
        const answers: WriteContentResponse[] = []
        for (const message of messages) answers.push(await writer.send(message))
        return answers
      }),
    async put(call, data, labels = {}) {
      const digest = digestOf(data)
      await bench.send(call, { action: WriteAction.COMMIT, ref: `put ${digest}`, data, labels })
      return digest
    },
    async read(call, digest, offset = 0, size = 0) {
      const pieces: Buffer[] = []
      for await (const { data } of bench.content.read({ digest, offset, size }, call)) pieces.push(data)
      return Buffer.concat(pieces)
    },
    async list(call, ...filters) {
      const groups: Info[][] = []
      for await (const { info } of bench.content.list({ filters }, call)) groups.push(info)
      return groups
    },
    async refs(call, ...filters) {
      const { statuses } = await bench.content.listStatuses({ filters }, call)
      return statuses.map(({ ref }) => ref).sort()
    },
    infoOf: async (call, digest) => (await bench.content.info({ digest }, call)).info,
  }
  return bench
}
