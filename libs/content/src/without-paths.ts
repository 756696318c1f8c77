import { type Call, unknown } from '@flotilla/rpc'

/** A failure of the file system as clients may see it: what failed and how, but not where. */
function withoutPaths(error: unknown): unknown {
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return error
  return unknown(`content store: ${error.syscall} failed: ${error.code}`, { cause: error })
}

/** A unary method whose errors name no file. */
export function answering<Q, A>(
  method: (request: Q, call: Call) => Promise<A>,
): (request: Q, call: Call) => Promise<A> {
  return async (request, call) => {
    try {
      return await method(request, call)
    } catch (error) {
      throw withoutPaths(error)
    }
  }
}

/** The same for a method that answers a stream. */
export function streaming<Q, A>(
  method: (request: Q, call: Call) => AsyncGenerator<A>,
): (request: Q, call: Call) => AsyncIterableIterator<A> {
  return (request, call) => {
    const answers = method(request, call)
    const told = (error: unknown) => {
      throw withoutPaths(error)
    }
    // By hand, for a generator around a generator costs three turns of the microtask queue for each message.
    return {
      next: () => answers.next().catch(told),
      return: () => answers.return(undefined).catch(told),
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }
}
