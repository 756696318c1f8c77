/** The part of a grpc-js stream that is read here. */
export interface MessageSource {
  on(event: string, listener: (value: unknown) => void): unknown
  pause(): unknown
  resume(): unknown
}

/**
 * The messages of a gRPC stream, one at a time: the stream is paused while the consumer is busy, so at most the messages
 * already decoded are held. Ends with the stream, throws its error. Node's own iterator of a duplex stream would also
 * wait for (and on leaving destroy) the other direction, which has a life of its own. It listens from the start, not
 * from the first read: an error event that nobody listens for would end the process.
 */
export function messagesOf(source: MessageSource): AsyncGenerator<unknown> {
  const queue: unknown[] = []
  const end: { kind: 'open' | 'ended' | 'failed'; error?: unknown } = { kind: 'open' }
  let wake = () => {}
  const settle = (kind: 'ended' | 'failed', error?: unknown) => {
    if (end.kind === 'open') Object.assign(end, { kind, error })
    wake()
  }
  source.on('data', (message) => {
    queue.push(message)
    source.pause()
    wake()
  })
  source.on('end', () => settle('ended'))
  source.on('close', () => settle('ended'))
  source.on('cancelled', () => settle('ended'))
  source.on('error', (error) => settle('failed', error))
  source.pause()
  return take()

  async function* take(): AsyncGenerator<unknown> {
    for (;;) {
      while (queue.length > 0) yield queue.shift()
      if (end.kind === 'failed') throw end.error
      if (end.kind === 'ended') return
      source.resume()
      await new Promise<void>((resolve) => {
        wake = resolve
        if (queue.length > 0 || end.kind !== 'open') resolve()
      })
    }
  }
}
