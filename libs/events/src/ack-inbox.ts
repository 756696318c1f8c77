import { createInbox, ErrorCode, type Msg, type NatsConnection, NatsError } from 'nats'

/** Milliseconds that JetStream has to acknowledge a message. */
const limit = 5_000

/** What JetStream says of a message that was published to it. */
export interface PublishAck {
  /** Its number in the stream. */
  readonly seq: number
  /** Whether a message with its `Nats-Msg-Id` was there already. */
  readonly duplicate?: boolean
  /** Why it was not stored. */
  readonly error?: { readonly err_code: number; readonly description: string }
}

/**
 * Takes the acknowledgements of JetStream. The client's own publish makes a request with an inbox, a timer and an error
 * object for each message, which costs more than the message.
 */
export interface AckInbox extends Disposable {
  /** Whether nothing comes here any more: the server refused the subscription. */
  readonly closed: boolean
  /**
   * One message's reply subject, and the answer that comes there. It rejects with a NatsError when none comes in time or
   * nobody listens on the message's subject.
   */
  expect(): { readonly reply: string; readonly ack: Promise<PublishAck> }
}

export function createAckInbox(nats: NatsConnection): AckInbox {
  const inbox = createInbox()
  const waiting = new Map<string, { resolve(ack: PublishAck): void; reject(error: Error): void }>()
  let count = 0

  const subscription = nats.subscribe(`${inbox}.*`, {
    callback: (error: Error | null, message: Msg) => {
      if (error) {
        // Such as a lack of permission to subscribe: no answer will come.
        for (const each of waiting.values()) each.reject(error)
        return
      }
      const one = waiting.get(message.subject)
      if (message.headers?.code === Number(ErrorCode.NoResponders)) {
        one?.reject(NatsError.errorForCode(ErrorCode.NoResponders))
        return
      }
      try {
        one?.resolve(message.json<PublishAck>())
      } catch (cause) {
        one?.reject(new Error('JetStream sent an acknowledgement that cannot be read', { cause }))
      }
    },
  })

  return {
    get closed() {
      return subscription.isClosed()
    },
    expect() {
      const reply = `${inbox}.${++count}`
      const { promise, resolve, reject } = Promise.withResolvers<PublishAck>()
      waiting.set(reply, { resolve, reject })
      const timer = setTimeout(() => reject(NatsError.errorForCode(ErrorCode.Timeout)), limit)
      const ack = promise.finally(() => {
        clearTimeout(timer)
        waiting.delete(reply)
      })
      // Who sent the message may have given up before.
      ack.catch(() => {})
      return { reply, ack }
    },
    [Symbol.dispose]() {
      subscription.unsubscribe()
      for (const each of waiting.values()) each.reject(NatsError.errorForCode(ErrorCode.ConnectionClosed))
    },
  }
}
