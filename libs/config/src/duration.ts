/** Milliseconds in each unit, as Go writes them. */
const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of a duration as containerd's files have it, `1m30s`; undefined for what is none. */
export function millisecondsOf(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return text === '0' ? 0 : undefined
  let sum = 0
  for (const [, number, , unit = ''] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * (units[unit] ?? 0)
  return Math.round(sum)
}
