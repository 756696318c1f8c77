/** One entry of a Redis stream as it comes: its id and its fields. */
export interface StreamEntry {
  readonly id: string
  readonly fields: ReadonlyMap<string, Buffer>
}

type RawEntry = readonly [Buffer, readonly Buffer[]]

/** What XRANGE answers. */
export function readEntries(reply: unknown): StreamEntry[] {
  return (reply as RawEntry[]).map(([id, flat]) => {
    const fields = new Map<string, Buffer>()
    for (let at = 0; at + 1 < flat.length; at += 2) fields.set(String(flat[at]), flat[at + 1] as Buffer)
    return { id: String(id), fields }
  })
}

/** What XREAD answers, by key; nothing when it waited in vain. */
export function readStreams(reply: unknown): Array<readonly [string, StreamEntry[]]> {
  // With RESP3 it is a map, which ioredis flattens: key, entries, key, entries, …
  const flat = (reply ?? []) as readonly unknown[]
  const streams: Array<readonly [string, StreamEntry[]]> = []
  for (let at = 0; at + 1 < flat.length; at += 2) streams.push([String(flat[at]), readEntries(flat[at + 1])])
  return streams
}

export const textField = (entry: StreamEntry, name: string): string => entry.fields.get(name)?.toString() ?? ''
