import type { ContentDefinition, WriteContentResponse } from '@flotilla/api/containerd/services/content/v1/content'
import { WriteContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import type { Call, ServiceOf } from '@flotilla/rpc'

/** A Write stream as containerd's clients use it: one message, one answer. */
export interface ContentWriter {
  /** Sends a message and waits for its answer; rejects with the error that ended the stream. */
  send(message: Partial<WriteContentRequest>): Promise<WriteContentResponse>
  /** Half-closes the stream and waits for its end. */
  end(): Promise<void>
}

/** Opens a Write stream. Nothing is sent before the first {@link ContentWriter.send}. */
export function contentWriter(content: ServiceOf<typeof ContentDefinition>, call: Call): ContentWriter {
  const queue: WriteContentRequest[] = []
  let wake = () => {}
  let ended = false
  async function* requests() {
    for (;;) {
      const next = queue.shift()
      if (next !== undefined) yield next
      else if (ended) return
      else
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
  }
  const answers = content.write(requests(), call)[Symbol.asyncIterator]()
  return {
    async send(message) {
      queue.push(WriteContentRequest.fromPartial(message))
      wake()
      const { done, value } = await answers.next()
      if (done) throw new Error('the stream ended without an answer')
      return value
    },
    async end() {
      ended = true
      wake()
      while (!(await answers.next()).done);
    },
  }
}
