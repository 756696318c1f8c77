import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, makeCall, status } from '@flotilla/rpc'
import type { NodeTasksDeps } from './deps.ts'
import type { Journal } from './journal.ts'

/** Milliseconds that one delivery may take before it is tried again. */
const deliveryTimeout = 10_000

/** First and longest pause between two tries, milliseconds. */
const pauses = { first: 50, longest: 1_000 } as const

/**
 * Sends the journal to the events service, one entry after the other, until the signal aborts. An entry is tried until
 * it is taken; only one that the service says is no event is dropped.
 */
export async function deliverJournal(
  journal: Journal,
  { events, logger, nodeName }: Pick<NodeTasksDeps, 'events' | 'logger' | 'nodeName'>,
  signal: AbortSignal,
): Promise<void> {
  let pause: number = pauses.first
  // The next delivery need not wait until it is noted that this one was made: a repeat is recognised.
  let noted = Promise.resolve()
  while (!signal.aborted) {
    try {
      const { envelope, sequence } = await journal.next(signal)
      const metadata = { 'flotilla-event-id': `${nodeName}/${sequence}` }
      try {
        await events.forward({ envelope }, makeCall({ metadata, signal, timeout: deliveryTimeout }))
      } catch (err) {
        if (!hasCode(err, status.INVALID_ARGUMENT)) throw err
        logger.error({ err, sequence, topic: envelope.topic }, 'an event of a shim was refused and is dropped')
      }
      await noted
      noted = journal.delivered(sequence)
      noted.catch(() => {})
      pause = pauses.first
    } catch (err) {
      noted = noted.catch(() => {})
      if (signal.aborted) break
      if (pause === pauses.longest) logger.warn({ err, waiting: journal.pending }, 'events cannot be delivered now')
      await sleep(pause, undefined, { signal }).catch(() => {})
      pause = Math.min(pause * 2, pauses.longest)
    }
  }
  await noted.catch((err: unknown) => logger.warn({ err }, 'a delivered event is not noted and will be sent again'))
}
