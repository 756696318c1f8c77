import { fork } from 'node:child_process'
import { once } from 'node:events'
import { namespace, type Side } from '../sides.ts'

export interface SubscriberJob {
  readonly address: string
  readonly namespace: string
  readonly streams: number
  /** Measured events that each stream waits for. */
  readonly events: number
}

export interface Latencies {
  /** Milliseconds from publishing to receiving. */
  readonly p50: number
  readonly p99: number
}

/** Subscribers that have subscribed. */
export interface Subscribers extends Disposable {
  /** Resolves when each has received all measured events. */
  readonly done: Promise<Latencies>
}

/**
 * Starts a process of subscribers, and publishes probes until each has received one.
 * @param probe publishes a probe
 */
export async function subscribersTo(
  side: Side,
  options: Pick<SubscriberJob, 'streams' | 'events'>,
  probe: () => Promise<unknown>,
): Promise<Subscribers> {
  const job: SubscriberJob = { address: side.address, namespace, ...options }
  const child = fork(new URL('./subscriber.ts', import.meta.url), [JSON.stringify(job)])
  const failed = once(child, 'exit').then(() => {
    throw new Error('the subscribers ended too early')
  })
  failed.catch(() => {})
  const ready = once(child, 'message').then(() => true)
  while (!(await Promise.race([ready, failed, probe().then(() => false)])));
  const done = Promise.race([once(child, 'message'), failed]).then(([latencies]) => latencies as Latencies)
  done.catch(() => {})
  return {
    done,
    [Symbol.dispose]() {
      child.kill('SIGKILL')
    },
  }
}
