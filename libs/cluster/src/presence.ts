import { Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { fromSubjectToken, subjectToken } from '@flotilla/bus'
import { cordonedNodes, fromMillis, type Metadata, nodeNames, nodeRecords } from '@flotilla/metadata'
import type { NatsConnection } from 'nats'

/** Milliseconds between two signs of life. */
export const announceEvery = 1_500
/** Milliseconds of silence after which a node is not ready. */
export const lease = 8_000

/** Where a node says that it is there, with its record. */
export const presenceSubject = (node: string): string => `flotilla.presence.${subjectToken(node)}`
/** Asks every node to say so at once. */
export const askSubject = 'flotilla.presence-ask'

/** Milliseconds for the answers to the first question. */
const firstAnswers = 500

interface Heard {
  readonly record: Node
  /** Monotonic milliseconds. */
  readonly at: number
  readonly wallClock: number
  /** It said that it is leaving. */
  readonly left: boolean
}

/** Who is there, as this process hears it. */
export interface Presence extends AsyncDisposable {
  /** Every node of the catalogue as it is now, by name. */
  nodes(): Promise<Node[]>
  /** Whether a node was heard of within its lease. */
  isReady(name: string): Promise<boolean>
  /** The record that a node last announced; undefined before it did. */
  heard(name: string): Node | undefined
  /** Resolves at the next sign of life that tells something new, the next silence, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void>
}

/** Listens to all nodes, having asked each to say that it is there. */
export function createPresence(deps: { readonly nats: NatsConnection; readonly metadata: Metadata }): Presence {
  const { nats, metadata } = deps
  const heard = new Map<string, Heard>()
  const since = new Map<string, { status: NodeStatus; at: number }>()
  let waiting: Array<() => void> = []
  const wake = () => {
    const those = waiting
    waiting = []
    for (const resolve of those) resolve()
  }
  const statusOf = (name: string): NodeStatus => {
    const last = heard.get(name)
    return last !== undefined && !last.left && performance.now() - last.at < lease
      ? NodeStatus.NODE_STATUS_READY
      : NodeStatus.NODE_STATUS_NOT_READY
  }
  /** Notes when a status became what it is; whether it is new. */
  const note = (name: string): boolean => {
    const status = statusOf(name)
    if (since.get(name)?.status === status) return false
    since.set(name, { status, at: Date.now() })
    return true
  }

  const subscription = nats.subscribe('flotilla.presence.*', {
    callback: (error, message) => {
      if (error) return
      const name = fromSubjectToken(message.subject.slice('flotilla.presence.'.length))
      const record = Node.decode(message.data)
      const known = heard.get(name)?.record
      const left = record.status === NodeStatus.NODE_STATUS_NOT_READY
      heard.set(name, { record, at: performance.now(), wallClock: Date.now(), left })
      const moved = known === undefined || !sameApartFromTime(known, record)
      if (note(name) || moved) wake()
    },
  })
  const expiry = setInterval(() => {
    let news = false
    for (const name of heard.keys()) news = note(name) || news
    if (news) wake()
  }, 500)
  expiry.unref()
  nats.publish(askSubject)
  const begun = performance.now()
  let settled = false
  /** Before the answers are in, or a moment has passed, nobody can be said to be silent. */
  async function settle(): Promise<void> {
    if (settled) return
    const names = await nodeNames(metadata)
    while (performance.now() - begun < firstAnswers && !names.every((name) => heard.has(name)))
      await new Promise((resolve) => setTimeout(resolve, 10))
    settled = true
  }

  return {
    async nodes() {
      await settle()
      const [listed, records, cordoned] = await Promise.all([
        nodeNames(metadata),
        nodeRecords(metadata),
        cordonedNodes(metadata),
      ])
      return listed.map((name) => {
        const stored = records.get(name)
        const last = heard.get(name)
        const record = last?.record ?? (stored === undefined ? Node.fromPartial({ name }) : Node.decode(stored))
        note(name)
        return {
          ...record,
          name,
          status: statusOf(name),
          statusSince: fromMillis(since.get(name)?.at ?? Date.now()),
          cordoned: cordoned.has(name),
          seenAt: last === undefined ? record.seenAt : fromMillis(last.wallClock),
        }
      })
    },
    async isReady(name) {
      // Heard of: no need to ask who else there is.
      if (statusOf(name) === NodeStatus.NODE_STATUS_READY) return true
      await settle()
      return statusOf(name) === NodeStatus.NODE_STATUS_READY
    },
    heard: (name) => heard.get(name)?.record,
    changed(signal) {
      return new Promise((resolve) => {
        waiting.push(resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    async [Symbol.asyncDispose]() {
      clearInterval(expiry)
      subscription.unsubscribe()
      wake()
    },
  }
}

function sameApartFromTime(a: Node, b: Node): boolean {
  const bytes = (node: Node) => Buffer.from(Node.encode({ ...node, seenAt: undefined }).finish())
  return bytes(a).equals(bytes(b))
}
