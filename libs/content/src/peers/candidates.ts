import { toRpcError } from '@flotilla/rpc'

/** Nodes asked at one look: where many nodes want one blob, each asking each would be all that they do. */
const askedAtOnce = 8
/** Times in a row that a node may fail before it is left out. One that only has much to do answers the next time. */
const failuresAllowed = 3
/** Milliseconds that a node is let be after it failed, times how often it did. */
const restAfterFailure = 500
/**
 * Milliseconds that a node which is only getting the blob is waited for while nothing comes there: nodes that get it
 * from each other alone would wait for ever.
 */
const patience = 10_000

interface Failure {
  readonly why: string
  readonly times: number
  /** Milliseconds since the epoch before which it is let be. */
  readonly again: number
}

interface Arriving {
  /** Which pieces it has. */
  readonly pieces: Uint8Array
  /** Milliseconds since the epoch when that was first seen. */
  readonly since: number
  /** Whether one of them is missing here. */
  readonly useful: boolean
}

/** What one search for a blob has learnt of the nodes that are said to have it, or to be getting it. */
export class Candidates {
  readonly #failures = new Map<string, Failure>()
  readonly #arriving = new Map<string, Arriving>()

  /** Whom to ask now; in an order that differs from node to node, those that had nothing of use last. */
  choose(nodes: readonly string[]): string[] {
    return inAnyOrder(
      nodes.filter((node) => !this.#isOut(node) && (this.#failures.get(node)?.again ?? 0) <= Date.now()),
    )
      .sort((a, b) => Number(this.#isUseless(a)) - Number(this.#isUseless(b)))
      .slice(0, askedAtOnce)
  }

  /** Whether one of them may give something at another look. */
  leaveHope(nodes: readonly string[]): boolean {
    return nodes.some((node) => {
      if (this.#isOut(node)) return false
      const arriving = this.#arriving.get(node)
      return arriving === undefined || (arriving.pieces.length > 0 && Date.now() - arriving.since < patience)
    })
  }

  /** It did not give what it was asked for. */
  failed(node: string, error: unknown): void {
    const times = (this.#failures.get(node)?.times ?? 0) + 1
    this.#failures.set(node, { why: toRpcError(error).message, times, again: Date.now() + times * restAfterFailure })
  }

  /** It gave a piece. */
  gave(node: string): void {
    this.#failures.delete(node)
  }

  /** It is of no use to ask it again. */
  ruleOut(node: string, why: string): void {
    this.#failures.set(node, { why, times: failuresAllowed, again: 0 })
  }

  /** It has all of it. */
  isWhole(node: string): void {
    this.#arriving.delete(node)
  }

  /**
   * It has some pieces.
   *
   * @param pieces a bit for each; empty if the blob is neither there nor on its way there
   */
  isArriving(node: string, pieces: Uint8Array, useful: boolean): void {
    const before = this.#arriving.get(node)
    const since = before !== undefined && Buffer.compare(before.pieces, pieces) === 0 ? before.since : Date.now()
    this.#arriving.set(node, { pieces, since, useful })
  }

  /** Who failed, and why. */
  failures(): string[] {
    return [...this.#failures].map(([node, { why }]) => `${node}: ${why}`)
  }

  #isOut(node: string): boolean {
    return (this.#failures.get(node)?.times ?? 0) >= failuresAllowed
  }

  #isUseless(node: string): boolean {
    return this.#arriving.get(node)?.useful === false
  }
}

function inAnyOrder<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value)
}
