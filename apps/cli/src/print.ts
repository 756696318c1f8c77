/** One value as one JSON text; byte strings become base64, dates ISO 8601. */
export function asJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, each: unknown) => (each instanceof Uint8Array ? Buffer.from(each).toString('base64') : bytesOf(each)),
    indent,
  )
}

/** A Buffer has said what it is before the replacer is asked. */
function bytesOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('type' in value) || !('data' in value)) return value
  return value.type === 'Buffer' && Array.isArray(value.data)
    ? Buffer.from(value.data as number[]).toString('base64')
    : value
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Rows below a header, columns as wide as they need to be. */
export function table(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Prints a list as a table or as a JSON array. */
export function printList<T>(
  items: readonly T[],
  json: boolean,
  header: readonly string[],
  row: (item: T) => readonly string[],
): void {
  print(json ? asJson(items, 2) : table(header, items.map(row)))
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function size(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}

/** How long ago, in its two largest units. */
export function age(date: Date, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - date.getTime()) / 1_000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h${Math.floor((seconds % 3_600) / 60)}m`
  return `${Math.floor(seconds / 86_400)}d${Math.floor((seconds % 86_400) / 3_600)}h`
}
