import { toRpcError } from '@flotilla/rpc'

/** Nodes asked at one look: where many nodes want one blob, each asking each would be all that they do. */
const askedAtOnce = 8
/** Times that a node may fail before it is left out. One that only has much to do answers the next time. */
const failuresAllowed = 3
/** Milliseconds that a node is let be after it failed, times how often it did. */
const restAfterFailure = 500

interface Failure {
  readonly why: string
  readonly times: number
  /** Milliseconds since the epoch before which it is let be. */
  readonly again: number
}

/** What one search for a blob has learnt of the nodes that are said to have it, or to be getting it. */
export class Candidates {
  readonly #failures = new Map<string, Failure>()
  readonly #empty = new Set<string>()

  /** Whom to ask now; in an order that differs from node to node, those that had nothing last. */
  choose(nodes: readonly string[]): string[] {
    return inAnyOrder(
      nodes.filter((node) => !this.#isOut(node) && (this.#failures.get(node)?.again ?? 0) <= Date.now()),
    )
      .sort((a, b) => Number(this.#empty.has(a)) - Number(this.#empty.has(b)))
      .slice(0, askedAtOnce)
  }

  /** Whether one of them may give something at another look. */
  leaveHope(nodes: readonly string[]): boolean {
    return nodes.some((node) => !this.#isOut(node) && !this.#empty.has(node))
  }

  /** It did not give what it was asked for. */
  failed(node: string, error: unknown): void {
    const times = (this.#failures.get(node)?.times ?? 0) + 1
    this.#failures.set(node, { why: toRpcError(error).message, times, again: Date.now() + times * restAfterFailure })
  }

  /** It is of no use to ask it again. */
  ruleOut(node: string, why: string): void {
    this.#failures.set(node, { why, times: failuresAllowed, again: 0 })
  }

  /** It answered, and has pieces or not. */
  answered(node: string, hasPieces: boolean): void {
    if (hasPieces) this.#empty.delete(node)
    else this.#empty.add(node)
  }

  /** Who failed, and why. */
  failures(): string[] {
    return [...this.#failures].map(([node, { why }]) => `${node}: ${why}`)
  }

  #isOut(node: string): boolean {
    return (this.#failures.get(node)?.times ?? 0) >= failuresAllowed
  }
}

function inAnyOrder<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value)
}
