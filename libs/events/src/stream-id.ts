/** Before every entry of a stream. */
export const beginning = '0-0'

const parts = (id: string): readonly [number, number] => {
  const at = id.indexOf('-')
  return [Number(id.slice(0, at)), Number(id.slice(at + 1))]
}

/** Orders two Redis stream ids (`MILLISECONDS-COUNT`). */
export function compareIds(a: string, b: string): number {
  const [aMs, aCount] = parts(a)
  const [bMs, bCount] = parts(b)
  return aMs - bMs || aCount - bCount
}

/** The smallest id after this one. */
export function idAfter(id: string): string {
  const [ms, count] = parts(id)
  return `${ms}-${count + 1}`
}

/** Redis' clock when the entry was added, milliseconds since the epoch. */
export const idMillis = (id: string): number => parts(id)[0]
