import { namespace, type Side } from '../sides.ts'
import { type MessageName, messages } from './messages.ts'
import { unaryConnection } from './unary-connection.ts'

/** Milliseconds between two looks at how many calls are due. */
const turn = 5

/** Makes so many calls a second, at most 64 at once, until it is disposed. An error in one is an error of the disposal. */
export async function pacedCaller(side: Side, message: MessageName, rate: number): Promise<AsyncDisposable> {
  const { of, path } = messages[message]
  const connection = await unaryConnection(side.address, path, namespace)
  const running = new Set<Promise<unknown>>()
  const began = performance.now()
  let made = 0
  let failure: unknown
  const timer = setInterval(() => {
    const due = 1 + Math.floor(((performance.now() - began) * rate) / 1000)
    // What a slow server did not take in time is not made up for: the rate is meant, not the number.
    if (running.size >= 64) made = due
    for (; made < due && running.size < 64; made++) {
      const call = connection
        .call(of(made))
        .catch((error: unknown) => {
          failure ??= error
        })
        .finally(() => running.delete(call))
      running.add(call)
    }
  }, turn)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await Promise.all(running)
      connection[Symbol.dispose]()
      if (failure !== undefined) throw failure
    },
  }
}
