import type { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { hasCode, type ServiceOf, status } from '@flotilla/rpc'

type Diff = ServiceOf<typeof DiffDefinition>

/** Asks one differ after the other: the first that does not answer UNIMPLEMENTED has the last word. */
export function inOrder(differs: readonly [Diff, ...Diff[]]): Diff {
  async function first<T>(ask: (differ: Diff) => Promise<T>): Promise<T> {
    const [differ, ...others] = differs
    try {
      return await ask(differ)
    } catch (error) {
      const [next, ...rest] = others
      if (next === undefined || !hasCode(error, status.UNIMPLEMENTED)) throw error
      return await ask(inOrder([next, ...rest]))
    }
  }
  return {
    apply: (request, call) => first((differ) => differ.apply(request, call)),
    diff: (request, call) => first((differ) => differ.diff(request, call)),
  }
}
