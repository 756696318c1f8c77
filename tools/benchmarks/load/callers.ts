import { fork } from 'node:child_process'
import { once } from 'node:events'
import { namespace, type Side } from '../sides.ts'
import type { MessageName } from './messages.ts'

/** What one process of callers does. */
export interface CallerJob {
  readonly address: string
  readonly namespace: string
  readonly message: MessageName
  /** Calls in flight, all on one connection as with a Go client. */
  readonly callers: number
  /** The calls are those with the numbers from `first` up to, not including, `end`. */
  readonly first: number
  readonly end: number
}

/** As results call so many callers of a message. */
export const named = (message: MessageName, callers: number) =>
  `${message}, ${callers === 1 ? 'one caller' : `${callers} callers`}`

/** Callers that are connected and wait for the word. */
export interface Callers {
  /** Makes all calls; an error in one is an error here. */
  go(): Promise<void>
}

/** Starts processes with so many callers in all, which share the calls with the numbers from `first` on. */
export async function callersOf(
  side: Pick<Side, 'address'>,
  message: MessageName,
  options: { readonly callers: number; readonly calls: number; readonly first?: number; readonly within?: string },
): Promise<Callers> {
  const { callers, calls, first = 0, within = namespace } = options
  const processes = callers === 1 ? 1 : 2
  const children = await Promise.all(
    Array.from({ length: processes }, async (_, index) => {
      const job: CallerJob = {
        address: side.address,
        namespace: within,
        message,
        callers: Math.ceil(callers / processes),
        first: first + Math.floor((calls * index) / processes),
        end: first + Math.floor((calls * (index + 1)) / processes),
      }
      const child = fork(new URL('./caller.ts', import.meta.url), [JSON.stringify(job)])
      const ended = once(child, 'exit').then(([code]) => {
        if (code !== 0) throw new Error(`a caller of ${message} failed`)
      })
      await Promise.race([once(child, 'message'), ended])
      return { child, ended }
    }),
  )
  return {
    async go() {
      for (const { child } of children) child.send('go')
      await Promise.all(children.map(({ ended }) => ended))
    },
  }
}
