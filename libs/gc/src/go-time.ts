const rfc3339 = /^\d{4}-(\d\d)-(\d\d)T(\d\d):\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** Milliseconds since the epoch of an RFC 3339 time, as Go reads it; undefined when it is none. */
export function parseTime(text: string): number | undefined {
  const [, month, day, hour] = rfc3339.exec(text) ?? []
  if (month === undefined || hour === undefined || Number(hour) > 23) return undefined
  // Date takes 30 February for 1 March and 24:00 for midnight; Go takes neither.
  const year = Number(text.slice(0, 4))
  const days = new Date(Date.UTC(year, Number(month), 0))
  days.setUTCFullYear(year, Number(month), 0)
  if (Number(day) > days.getUTCDate()) return undefined
  const ms = Date.parse(text.replace(/[.,](\d{1,3})\d*/, '.$1'))
  return Number.isNaN(ms) ? undefined : ms
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of a duration as Go writes it (`1h30m`, `-1.5s`, `0`); undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const [, sign, rest] = /^([+-]?)(.+)$/.exec(text) ?? []
  if (rest === undefined) return undefined
  if (rest === '0') return 0
  let ms = 0
  let end = 0
  for (const part of rest.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    if (part.index !== end) return undefined
    end += part[0].length
    ms += Number(part[1]) * (units[part[2] ?? ''] ?? Number.NaN)
  }
  if (end === 0 || end !== rest.length) return undefined
  return sign === '-' ? -ms : ms
}
